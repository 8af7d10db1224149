// The part of Preact's hooks that the studio uses.
export interface Ref<T> { current: T }
export declare function useState<T>(initial: T | (() => T)): [T, (next: T | ((previous: T) => T)) => void];
export declare function useEffect(effect: () => void | (() => void), inputs?: readonly unknown[]): void;
export declare function useLayoutEffect(effect: () => void | (() => void), inputs?: readonly unknown[]): void;
export declare function useRef<T>(initial: T): Ref<T>;
export declare function useMemo<T>(make: () => T, inputs?: readonly unknown[]): T;
export declare function useCallback<T>(callback: T, inputs?: readonly unknown[]): T;
