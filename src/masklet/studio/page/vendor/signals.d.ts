// The types of signals.js. Importing that file is what makes components follow the signals that they read.
export { signal, computed, batch, effect, untracked, Signal, type ReadonlySignal } from "./signals-core.js";
import type { ReadonlySignal, Signal } from "./signals-core.js";
export declare function useSignal<T>(value: T): Signal<T>;
export declare function useComputed<T>(compute: () => T): ReadonlySignal<T>;
export declare function useSignalEffect(cb: () => void | (() => void)): void;
