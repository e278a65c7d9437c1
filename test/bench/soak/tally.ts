const MAX_EXAMPLE = 1000;

/** What the soak saw: how often what happened, and what must not have happened. */
export class Tally {
  readonly #counts = new Map<string, number>();
  readonly #violations = new Map<string, { count: number; readonly example: string }>();
  #slowestHeadMs = 0;

  /** `kind` and `name` make a line of the report: `answers: blob 206`. */
  count(kind: string, name: string, by = 1): void {
    const key = `${kind}: ${name}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + by);
  }

  headCame(ms: number): void {
    this.#slowestHeadMs = Math.max(this.#slowestHeadMs, ms);
  }

  /** `rule` is what was broken; `example` says by what, when and where. */
  violation(rule: string, example: string): void {
    const entry = this.#violations.get(rule) ?? {
      count: 0,
      example: `${new Date().toISOString()} ${example.slice(0, MAX_EXAMPLE)}`,
    };
    entry.count++;
    this.#violations.set(rule, entry);
  }

  get violations(): string[] {
    return [...this.#violations].map(([rule, { count, example }]) => `${rule} (${count}), first: ${example}`);
  }

  get lines(): string[] {
    const counts = [...this.#counts].sort(([one], [other]) => (one < other ? -1 : 1));
    return [
      ...counts.map(([key, count]) => `${key}: ${count.toLocaleString('en')}`),
      `slowest head of an answer: ${(this.#slowestHeadMs / 1000).toFixed(1)} s`,
    ];
  }
}
