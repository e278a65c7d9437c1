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

/** After a restart, clients that were cut off are served first. */
const START_AFTER_MS = 10_000;
const PAUSE_MS = 50;
/** Files per turn of the event loop. */
const FILES_PER_TURN = 200;
/** Entries per turn; each takes some 20 µs if the index is large. */
const STEP = 50;
const EVERY_MS = 24 * 60 * 60 * 1000;
const TAG_KEPT_MS = 24 * 60 * 60 * 1000;
/** After this time, access to the repository is checked again anyway. */
const PUBLIC_KEPT_MS = 24 * 60 * 60 * 1000;

export interface SweepOptions {
  readonly dataDir: string;
  readonly tables: IndexTables;
  readonly leases: BlobLeases;
  readonly now: () => number;
  /** Hashes a file without an entry, and enters it if it matches its digest. */
  readonly takeIn: (digest: Digest, signal: AbortSignal) => Promise<BlobState>;
  readonly tell: Tell<'strayFileRemoved' | 'indexFailed'>;
  /** Called after each pass over all files. */
  readonly onSwept?: () => void;
  /** Default 10 s. */
  readonly startAfterMs?: number;
}

/**
 * After the start and then once a day, repairs differences between `blobs/` and the index.
 * - Files without an entry, after a kill or a lost index: they are entered if they match their digest, and else
 * removed.
 * - Entries for digests that are not cached: they are removed.
 * It works slowly. An entered file is as old as its last change, so an unused one is evicted first.
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

  /** If the disk fails or is full, the next pass tries again a day later. */
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
          if (at % FILES_PER_TURN === FILES_PER_TURN - 1)
            await turn(undefined, { signal: this.#abort.signal });
          const digest = parseDigest(`${algorithm}:${name}`);
          if (digest !== undefined && this.#hasNoEntry(digest))
            await this.#repair(digest, join(folder, name));
        }
        await this.#pause(PAUSE_MS);
      }
    }
  }

  async #repair(digest: Digest, path: string): Promise<void> {
    const from = performance.now();
    const state = await this.#stateOf(digest);
    // Checked again: a client may have caused an adoption or a fill meanwhile.
    const isWrong = state === 'corrupt' || state === 'short';
    if (isWrong && this.#hasNoEntry(digest)) await this.#removeFile(digest, path);
    // After a lost index all blobs are read: half of the time is for other readers of the disk.
    await this.#pause(performance.now() - from);
  }

  /** Undefined: the disk or the index failed. The sweep continues with the next file. */
  async #stateOf(digest: Digest): Promise<BlobState | undefined> {
    const { signal } = this.#abort;
    return this.#options.takeIn(digest, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      this.#options.tell('indexFailed', { error });
      return undefined;
    });
  }

  /** The blob has no entry and is not in use. */
  #hasNoEntry(digest: Digest): boolean {
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
    // If the disk fails, the next pass tries again a day later.
    if (isGone) this.#options.tell('strayFileRemoved', { digest });
  }

  /** Removes links to digests that are not cached and not named by a manifest: after failed fills, and HEADs alone. */
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

  /** Removes offers of such digests: clients request few of the referrers that an answer lists. */
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
      blobs.size(digest) === undefined &&
      !manifests.has(digest) &&
      !references.isNamed(digest) &&
      !this.#options.leases.isHeld(digest)
    );
  }

  /** Removes tags that only a HEAD has brought, and that were not checked for a day. */
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

  /** Removes records of public repositories without a tag or link. Records of private repositories stay. */
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
      // Checked again within the transaction: an entry may have come in between.
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
