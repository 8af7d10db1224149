/** A cache with an upper limit: what was not used for longest goes first. */

/**
 * @template K, V
 */
export class Lru {
  /**
   * @param {number} limit  largest sum of weights
   * @param {(value: V) => number} weigh
   * @param {(value: V) => void} [drop]  is told what is thrown away
   */
  constructor(limit, weigh, drop = () => {}) {
    this.limit = limit;
    this.weigh = weigh;
    this.drop = drop;
    this.used = 0;
    /** @type {Map<K, V>} */
    this.entries = new Map();
  }

  /** @param {K} key */
  has(key) {
    return this.entries.has(key);
  }

  /** @param {K} key */
  get(key) {
    const value = this.entries.get(key);
    if (value !== undefined) {
      this.entries.delete(key);
      this.entries.set(key, value);
    }
    return value;
  }

  /**
   * The value without counting as a use.
   * @param {K} key
   */
  peek(key) {
    return this.entries.get(key);
  }

  /**
   * @param {K} key
   * @param {V} value
   */
  set(key, value) {
    this.delete(key);
    this.entries.set(key, value);
    this.used += this.weigh(value);
    for (const [oldest] of this.entries) {
      // The newest stays, however large it is: it is what somebody is about to look at.
      if (this.used <= this.limit || this.entries.size === 1) break;
      this.delete(oldest);
    }
  }

  /** @param {K} key */
  delete(key) {
    const value = this.entries.get(key);
    if (value === undefined) return;
    this.entries.delete(key);
    this.used -= this.weigh(value);
    this.drop(value);
  }

  /** @param {(key: K) => boolean} [which] */
  clear(which = () => true) {
    for (const key of [...this.entries.keys()]) if (which(key)) this.delete(key);
  }
}
