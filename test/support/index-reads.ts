import type { RootDatabase } from 'lmdb';
import { vi, type MockInstance } from 'vitest';

/** How the tables of an environment are read in the end; the other ways lead to these. */
const WAYS = ['getBinaryFast', 'getRange'] as const;

type Ways = Record<(typeof WAYS)[number], (...parameters: unknown[]) => unknown>;

/** Counts what is read from one environment of LMDB, and lets it be read. */
export class IndexReads {
  readonly #ways: readonly MockInstance[];

  constructor(root: RootDatabase) {
    // lmdb makes a class for each environment, which all of its tables share.
    const shared = Object.getPrototypeOf(root) as Ways;
    this.#ways = WAYS.map((way) => vi.spyOn(shared, way));
  }

  /** Reads since the call before. */
  take(): number {
    const count = this.#ways.reduce((sum, { mock }) => sum + mock.calls.length, 0);
    for (const way of this.#ways) way.mockClear();
    return count;
  }
}
