// The part of Preact's types that the studio uses.
export interface VNode { type: unknown; props: unknown; key: unknown }
export type ComponentChildren = VNode | string | number | boolean | null | undefined | ComponentChildren[];
export declare function h(type: unknown, props?: object | null, ...children: ComponentChildren[]): VNode;
export declare function render(vnode: ComponentChildren, parent: Element | DocumentFragment): void;
export declare const Fragment: unknown;
