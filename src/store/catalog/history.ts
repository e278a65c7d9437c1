import type { Tell } from '../../events/events.ts';
import { WriteBehind } from '../../lib/write-behind.ts';
import type { PullEntry, PullHistory, PullRecord } from '../history.ts';
import type { IndexTables } from '../index/tables.ts';

/** Equal pulls within this time share one entry, which counts them: builders repeat the same pulls all day. */
const ENTRY_MS = 10 * 60_000;
/** Entries per transaction. */
const STEP = 200;
/** Bytes of an entry in the index, with its share of the page. */
const ENTRY_BYTES = 600;
/** Entries in memory. Beyond them the oldest is dropped. */
const MAX_OPEN = 20_000;

export interface HistoryBufferOptions {
  readonly tables: IndexTables;
  /** Older entries are removed. */
  readonly maxAgeMs: number;
  /** Beyond it the oldest entries are removed; 0: no pull is noted. */
  readonly maxEntries: number;
  readonly now: () => number;
  /** Whether the index may grow by about `bytes`. If not, entries wait in memory. */
  readonly hasRoom: (bytes: number) => boolean;
  readonly tell: Tell<'indexFailed'>;
}

interface OpenEntry extends PullRecord {
  readonly firstAt: number;
  lastAt: number;
  pulls: number;
  isWritten: boolean;
}

/** The pulls of clients: noted in memory at each hit, written to the index in batches. Count and age are limited. */
export class HistoryBuffer implements PullHistory {
  readonly #options: HistoryBufferOptions;
  /** Oldest first. */
  readonly #open = new Map<string, OpenEntry>();
  /** Until the next write: V8 passes the places of removed entries, so a new iterator for each costs more and more. */
  #oldest: Iterator<string> | undefined;
  readonly #behind = new WriteBehind(() => this.#write());
  #isTrimmed = false;

  constructor(options: HistoryBufferOptions) {
    this.#options = options;
  }

  note(pull: PullRecord): void {
    if (this.#options.maxEntries === 0) return;
    const at = this.#options.now();
    const { repository, tag = '', root, child = '', platform = '', network } = pull;
    const key = `${repository}\n${tag}\n${root}\n${child}\n${platform}\n${network}`;
    const known = this.#open.get(key);
    if (known !== undefined && at - known.firstAt < ENTRY_MS) {
      known.lastAt = at;
      known.pulls++;
      known.isWritten = false;
      return;
    }
    // An unwritten entry moves to another key, so that it is not lost.
    if (known?.isWritten === false) this.#open.set(`${key}\n${known.firstAt}`, known);
    this.#open.delete(key);
    this.#open.set(key, { ...stated(pull), firstAt: at, lastAt: at, pulls: 1, isWritten: false });
    if (this.#open.size > MAX_OPEN) this.#forgetOldest();
  }

  /** Resolves when all pulls noted so far are in the index, or the index failed. */
  flush(): Promise<void> {
    return this.#behind.flush();
  }

  close(): Promise<void> {
    return this.#behind.close();
  }

  #forgetOldest(): void {
    this.#oldest ??= this.#open.keys();
    const { value: key, done } = this.#oldest.next();
    if (done !== true) this.#open.delete(key);
  }

  async #write(): Promise<void> {
    const { now, hasRoom, tell } = this.#options;
    this.#oldest = undefined;
    const due = [...this.#open.values()].filter(({ isWritten }) => !isWritten);
    try {
      for (let at = 0; at < due.length && hasRoom(STEP * ENTRY_BYTES); at += STEP) {
        await this.#writeStep(due.slice(at, at + STEP));
      }
      if (due.length > 0 || !this.#isTrimmed) await this.#trim();
      this.#isTrimmed = true;
    } catch (error) {
      tell('indexFailed', { error });
    }
    for (const [key, { isWritten, firstAt }] of this.#open) {
      if (isWritten && now() - firstAt >= ENTRY_MS) this.#open.delete(key);
    }
  }

  async #writeStep(due: readonly OpenEntry[]): Promise<void> {
    const { environment, history } = this.#options.tables;
    // Copies: a pull can be added to an entry during the transaction.
    const entries = due.map((open): PullEntry => ({ ...open }));
    await environment.write(() => {
      for (const entry of entries) history.put(entry);
    });
    for (const [place, open] of due.entries()) {
      if (entries[place]?.pulls === open.pulls) open.isWritten = true;
    }
  }

  async #trim(): Promise<void> {
    const { tables, maxAgeMs, maxEntries, now } = this.#options;
    const { environment, history } = tables;
    const before = now() - maxAgeMs;
    const makesRoom = { frees: true };
    while ((await environment.write(() => history.removeBefore(before, STEP), makesRoom)) === STEP);
    for (let excess = history.count - maxEntries; excess > 0; excess -= STEP) {
      const limit = Math.min(STEP, excess);
      await environment.write(() => history.removeOldest(limit), makesRoom);
    }
  }
}

/** The record without keys for what is unknown. */
function stated({ repository, tag, root, child, platform, network }: PullRecord): PullRecord {
  return {
    repository,
    root,
    network,
    ...(tag === undefined ? {} : { tag }),
    ...(child === undefined ? {} : { child }),
    ...(platform === undefined ? {} : { platform }),
  };
}
