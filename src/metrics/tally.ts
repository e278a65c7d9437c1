import { Counter, Histogram, type CounterConfiguration, type HistogramConfiguration } from 'prom-client';

/** What was counted for the label values on the way to it, since it was last handed on. */
class Node {
  readonly next = new Map<string | number, Node>();
  count = 0;
}

/**
 * A counter for what happens with each request. It adds up in plain fields, and hands the sums to prom-client when they
 * are read. prom-client would spell and hash the labels of every request.
 */
export class Tally<L extends string> {
  readonly #counter: Counter<L>;
  readonly #labelNames: readonly L[];
  readonly #root = new Node();

  constructor(options: Omit<CounterConfiguration<L>, 'collect' | 'labelNames'>, labelNames: readonly L[]) {
    this.#labelNames = labelNames;
    this.#counter = new Counter({ ...options, labelNames, collect: () => this.#handOn(this.#root, []) });
  }

  /** `values` are those of the labels, in the order of their names. */
  add(count: number, ...values: readonly (string | number)[]): void {
    let node = this.#root;
    for (const value of values) {
      let next = node.next.get(value);
      if (next === undefined) {
        next = new Node();
        node.next.set(value, next);
      }
      node = next;
    }
    node.count += count;
  }

  #handOn(node: Node, values: readonly (string | number)[]): void {
    if (node.count > 0) this.#counter.inc(this.#labels(values), node.count);
    node.count = 0;
    for (const [value, next] of node.next) this.#handOn(next, [...values, value]);
  }

  #labels(values: readonly (string | number)[]): Record<L, string | number> {
    const pairs = this.#labelNames.map((name, place) => [name, values[place] ?? '']);
    return Object.fromEntries(pairs) as Record<L, string | number>;
  }
}

/** Values that wait. To hand on all of them takes less than 0.1 ms. */
const MAX_WAITING = 256;

interface Waiting {
  readonly values: Float64Array;
  count: number;
}

/** A histogram with one label. Values wait in an array, since prom-client is fast when it takes many in a row. */
export class HistogramInRows<L extends string> {
  readonly #histogram: Histogram<L>;
  readonly #labelName: L;
  readonly #waiting = new Map<string, Waiting>();

  constructor(options: Omit<HistogramConfiguration<L>, 'collect' | 'labelNames'>, labelName: L) {
    this.#labelName = labelName;
    const collect = (): void => {
      for (const [label, waiting] of this.#waiting) this.#handOn(label, waiting);
    };
    this.#histogram = new Histogram({ ...options, labelNames: [labelName], collect });
  }

  observe(label: string, value: number): void {
    let waiting = this.#waiting.get(label);
    if (waiting === undefined) {
      waiting = { values: new Float64Array(MAX_WAITING), count: 0 };
      this.#waiting.set(label, waiting);
    }
    waiting.values[waiting.count++] = value;
    if (waiting.count === MAX_WAITING) this.#handOn(label, waiting);
  }

  #handOn(label: string, waiting: Waiting): void {
    const labels = { [this.#labelName]: label } as Record<L, string>;
    for (const value of waiting.values.subarray(0, waiting.count)) this.#histogram.observe(labels, value);
    waiting.count = 0;
  }
}
