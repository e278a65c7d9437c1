import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import type { Tell } from '../../events/events.ts';
import { deferred } from '../../lib/promises.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import type { BlobLeases } from '../blob/leases.ts';
import type { BlobState } from '../blobs.ts';
import type { TagKey } from '../index/repositories.ts';
import type { IndexTables } from '../index/tables.ts';

/** Clients that were cut off come back first; until then little is on the disk that nobody counts. */
const START_AFTER_MS = 10_000;
const PAUSE_MS = 50;
/** Names that are looked up before others have a turn. */
const STEP = 200;
const EVERY_MS = 24 * 60 * 60 * 1000;
const TAG_KEPT_MS = 24 * 60 * 60 * 1000;
/** Then it is asked for anew anyway. */
const PUBLIC_KEPT_MS = 24 * 60 * 60 * 1000;

export interface SweepOptions {
  readonly dataDir: string;
  readonly tables: IndexTables;
  readonly leases: BlobLeases;
  readonly now: () => number;
  /** Looks at a file that the index does not know, and enters it if it is what its name says. */
  readonly takeIn: (digest: Digest, signal: AbortSignal) => Promise<BlobState>;
  readonly tell: Tell<'strayFileRemoved' | 'indexFailed'>;
  /** Told when it has been over all files. */
  readonly onSwept?: () => void;
  /** Default ten seconds. */
  readonly startAfterMs?: number;
}

/**
 * Goes slowly, after the start and then once a day, over what nothing else would ever see to: files in `blobs/` that
 * the index does not know, because a process was killed or the index was lost, and what the index knows of things that
 * are not here. Files are taken in if they are right, as when they are asked for, and removed if they are not: what
 * nobody wants any more is the coldest of all then, and goes when its room is needed.
 */
export class Sweep {
  readonly #options: SweepOptions;
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#abort.signal.aborted) throw error;
    });
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    await this.#pause(this.#options.startAfterMs ?? START_AFTER_MS);
    for (;;) {
      await this.#attempt(async () => {
        await this.#sweepFiles();
        this.#options.onSwept?.();
      });
      await this.#attempt(() => this.#sweepLinks());
      await this.#attempt(() => this.#sweepOffers());
      await this.#attempt(() => this.#sweepTags());
      await this.#attempt(() => this.#sweepRepositories());
      await this.#pause(EVERY_MS);
    }
  }

  /** What the disk refuses, as where it is full, is tried again tomorrow. */
  async #attempt(part: () => Promise<void>): Promise<void> {
    try {
      await part();
    } catch (error) {
      this.#abort.signal.throwIfAborted();
      this.#options.tell('indexFailed', { error });
    }
  }

  async #sweepFiles(): Promise<void> {
    const root = join(this.#options.dataDir, 'blobs');
    for (const algorithm of await names(root)) {
      for (const prefix of await names(join(root, algorithm))) {
        const folder = join(root, algorithm, prefix);
        for (const [at, name] of (await names(folder)).entries()) {
          if (at % STEP === STEP - 1) await turn(undefined, { signal: this.#abort.signal });
          const digest = parseDigest(`${algorithm}:${name}`);
          if (digest !== undefined && this.#isUnknown(digest)) await this.#seeTo(digest, join(folder, name));
        }
        await this.#pause(PAUSE_MS);
      }
    }
  }

  async #seeTo(digest: Digest, path: string): Promise<void> {
    const from = performance.now();
    const state = await this.#stateOf(digest);
    // Somebody else may have looked at it meanwhile, and another one be on its way to the same place.
    const isWrong = state === 'corrupt' || state === 'short';
    if (isWrong && this.#isUnknown(digest)) await this.#removeFile(digest, path);
    // A whole cache may have to be read: half of the time is for others.
    await this.#pause(performance.now() - from);
  }

  /** Undefined: the disk or the index fails, now. One file must not keep the others from being looked at. */
  async #stateOf(digest: Digest): Promise<BlobState | undefined> {
    const { signal } = this.#abort;
    return this.#options.takeIn(digest, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      this.#options.tell('indexFailed', { error });
      return undefined;
    });
  }

  #isUnknown(digest: Digest): boolean {
    const { tables, leases } = this.#options;
    return (
      tables.blobs.size(digest) === undefined && !leases.isHeld(digest) && !leases.isBeingRemoved(digest)
    );
  }

  async #removeFile(digest: Digest, path: string): Promise<void> {
    const gone = deferred<void>();
    this.#options.leases.announceRemoval(digest, gone.promise);
    const isGone = await rm(path, { force: true }).then(
      () => true,
      () => false,
    );
    gone.resolve();
    // What the disk does not let go is tried again tomorrow.
    if (isGone) this.#options.tell('strayFileRemoved', { digest });
  }

  /** Links to what is neither stored nor named by anything stored: fills that failed, HEADs that nothing followed. */
  async #sweepLinks(): Promise<void> {
    const { links, repositories } = this.#options.tables;
    await this.#sweepEntries<[repository: string, digest: Digest]>({
      page: (after) => links.page(STEP, after),
      isLoose: ([, digest]) => this.#isLoose(digest),
      remove: ([repository, digest]) => {
        links.remove(repository, digest);
        repositories.unlistIfEmpty(repository);
      },
    });
  }

  /** Offers of the same: of a list of referrers most are never asked for. */
  async #sweepOffers(): Promise<void> {
    const { offers } = this.#options.tables;
    await this.#sweepEntries<[digest: Digest, repository: string]>({
      page: (after) => offers.page(STEP, after),
      isLoose: ([digest]) => this.#isLoose(digest),
      remove: (key) => offers.remove(...key),
    });
  }

  #isLoose(digest: Digest): boolean {
    const { manifests, blobs, references } = this.#options.tables;
    return (
      !manifests.has(digest) &&
      blobs.size(digest) === undefined &&
      !references.isNamed(digest) &&
      !this.#options.leases.isHeld(digest)
    );
  }

  /** Tags of which only a HEAD told, and for which nobody has asked since. */
  async #sweepTags(): Promise<void> {
    const { tags, manifests, repositories } = this.#options.tables;
    const before = this.#options.now() - TAG_KEPT_MS;
    await this.#sweepEntries<TagKey>({
      page: (after) => tags.page(STEP, after),
      isLoose: (key) => {
        const record = tags.get(key);
        return record !== undefined && record.checkedAt < before && !manifests.has(record.descriptor.digest);
      },
      remove: (key) => {
        tags.remove(key);
        repositories.unlistIfEmpty(key[0]);
      },
    });
  }

  /** That a repository of which nothing is here was public once; that one is not is never forgotten. */
  async #sweepRepositories(): Promise<void> {
    const { repositories } = this.#options.tables;
    const before = this.#options.now() - PUBLIC_KEPT_MS;
    await this.#sweepEntries<string>({
      page: (after) => repositories.page(STEP, after),
      isLoose: (repository) => {
        const { restricted = false, publicAt = 0 } = repositories.get(repository) ?? {};
        return !restricted && publicAt < before && !repositories.isListed(repository);
      },
      remove: (repository) => repositories.remove(repository),
    });
  }

  async #sweepEntries<K>(table: {
    readonly page: (after?: K) => K[];
    readonly isLoose: (key: K) => boolean;
    readonly remove: (key: K) => void;
  }): Promise<void> {
    for (let page = table.page(); page.length > 0; page = table.page(page.at(-1))) {
      const loose = page.filter(table.isLoose);
      // Looked at again within the transaction: something may have come in between.
      const remove = (): void => loose.filter(table.isLoose).forEach(table.remove);
      if (loose.length > 0) await this.#options.tables.environment.write(remove, { frees: true });
      await this.#pause(PAUSE_MS);
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#abort.signal, ref: false });
  }
}

async function names(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}
