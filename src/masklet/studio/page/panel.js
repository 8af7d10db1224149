/** Which tab of the panel is open. */
import * as state from "./state.js";

/** Opens a tab, or folds the panel where it is open already. @param {state.Tab} name */
export const showTab = (name) => () => {
  state.panelOpen.value = !(state.panelOpen.value && state.tab.value === name);
  state.tab.value = name;
};

/** @param {state.Tab} name */
export function showTabOnly(name) {
  state.panelOpen.value = true;
  state.tab.value = name;
}
