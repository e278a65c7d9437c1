import { LRUCache } from 'lru-cache';
import type { PrefetchKind, Tell } from '../../events/events.ts';
import { atMost, keptFor, memoOf } from '../../lib/caches.ts';
import { withinMs } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import { blobsOf, isRunnableImage, parseManifest, type Manifest } from '../../oci/manifest.ts';
import { isIndexType } from '../../oci/media-types.ts';
import { orderFor } from '../../oci/platform-order.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { ContentLinks } from '../access/links.ts';
import { descriptorOf } from '../answer/answers.ts';
import { PullError } from '../answer/errors.ts';
import type { NegativeCache } from '../answer/negative-cache.ts';
import type { BlobPuller } from '../blob/blobs.ts';
import type { WantedBlob } from '../blob/fills.ts';
import type { ClientPlatforms } from '../manifest/clients.ts';
import type { IndexEntries } from '../manifest/entries.ts';
import type { ManifestFetcher } from '../manifest/fetch.ts';
import type { ServedManifest } from '../manifest/manifests.ts';
import { entryFor } from '../manifest/platforms.ts';

export interface PrefetcherOptions {
  readonly mode: 'off' | 'manifests';
  /** The platforms of all clients (setting `platforms`). Empty: any. */
  readonly platforms: readonly Platform[];
  readonly store: ManifestStore;
  readonly links: ContentLinks;
  readonly fetcher: ManifestFetcher;
  readonly negative: NegativeCache;
  readonly entries: IndexEntries;
  readonly clients: ClientPlatforms;
  readonly blobs: Pick<BlobPuller, 'prefetch'>;
  /** Whether upstream is reachable and has pulls left for prefetch. */
  readonly mayPrefetch: (upstream: Upstream, repository: string) => boolean;
  readonly tell: Tell<'prefetched' | 'fault'>;
}

/** Prefetches at the same time; further ones are skipped. */
const MAX_AT_ONCE = 64;
const MAX_READY = 20_000;
/** Content may be evicted in the meantime. */
const READY_TTL_MS = 5 * 60_000;
/** After a failed prefetch. */
const RETRY_AFTER_MS = 10_000;
const CLOSE_WAIT_MS = 3000;
/**
 * Of one attestation. BuildKit writes a layer per statement: provenance of some 10 kB, and a bill of materials of some
 * MB for the largest images. An attestation with more blobs is not one of BuildKit's.
 */
const MAX_STATEMENTS = 16;
const MAX_STATEMENT_BYTES = 64 * 1024 * 1024;

/** Downloads what a client will ask for next. No client waits for a prefetch, nor sees its failure. */
export class Prefetcher {
  readonly #options: PrefetcherOptions;
  readonly #running = new Set<Promise<void>>();
  readonly #nameOf = memoOf(formatPlatform);
  /** Indexes (by repository and platform) and manifests whose prefetch is done, running or failed just now. */
  readonly #ready = new LRUCache<string, true>({ ...atMost(MAX_READY), ...keptFor(READY_TTL_MS) });
  #isClosed = false;

  constructor(options: PrefetcherOptions) {
    this.#options = options;
  }

  manifestServed(served: ServedManifest): void {
    if ('head' in served.answer) return;
    const { manifest } = served.answer;
    if (isIndexType(manifest.descriptor.mediaType)) {
      if (this.#options.mode !== 'off') this.#childOf(manifest, served);
      return;
    }
    this.#attestationsOf(served);
  }

  /** Starts no new prefetch; waits at most 3 s for running ones. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await withinMs(this.settled(), CLOSE_WAIT_MS);
  }

  /** Resolves when no prefetch is running. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #childOf(index: Manifest, { upstream, request }: ServedManifest): void {
    const { repository, client } = request;
    const wanted = this.#options.clients.expected(client) ?? this.#onlyPlatform();
    if (wanted === undefined) return;
    const key = `${repositoryKey(repository)}@${index.descriptor.digest} ${this.#nameOf(wanted)}`;
    this.#runOnce(key, () => this.#getReady(wanted, index, { upstream, repository }));
  }

  /**
   * Docker 29 needs the attestations of a manifest as well, and fails without them. Once the attestation's manifest is
   * cached, its statements cost no pull, so missing ones are downloaded whenever the image is served.
   */
  #attestationsOf({ upstream, request: { repository }, answer }: ServedManifest): void {
    const { digest } = descriptorOf(answer);
    const entry = this.#options.entries.get(digest);
    if (entry === undefined) return;
    const attestations = entry.isAttestation ? [digest] : entry.attestations;
    if (attestations.length === 0) return;
    const mayPull = answer.cache === 'stored' || answer.cache === 'collapsed';
    const key = `${repositoryKey(repository)}@${digest}`;
    // The manifest was fetched just now, so an earlier result no longer counts.
    if (mayPull) this.#ready.delete(key);
    this.#runOnce(key, () => this.#attestations(upstream, repository, { attestations, mayPull }));
  }

  /** False if a part could not be downloaded. Throws PullError. */
  async #getReady(
    wanted: Platform,
    index: Manifest,
    { upstream, repository }: { readonly upstream: Upstream; readonly repository: Repository },
  ): Promise<boolean> {
    const load = async ({ digest }: { readonly digest: Digest }): Promise<Manifest> => {
      const nested = await this.#manifest(upstream, repository, { digest, kind: 'manifest' });
      this.#options.entries.note(nested);
      return nested;
    };
    const entry = await entryFor(wanted, index, load);
    if (entry === undefined || !this.#isCaredFor(entry.platform)) return true;
    const isNew = (await this.#options.store.getManifest(entry.digest)) === undefined;
    const child = await load(entry);
    const attestations = this.#options.entries.get(entry.digest)?.attestations ?? [];
    this.#run(async () => {
      await this.#attestations(upstream, repository, { attestations, mayPull: isNew });
    });
    await this.#options.links.expand(repository, child);
    return this.#config(upstream, repository, child);
  }

  /** With one platform in the settings, all clients have that. */
  #onlyPlatform(): Platform | undefined {
    const { platforms } = this.#options;
    return platforms.length === 1 ? platforms[0] : undefined;
  }

  #isCaredFor(platform: Platform | undefined): boolean {
    const { platforms } = this.#options;
    if (platform === undefined || platforms.length === 0) return true;
    return platforms.some((each) => orderFor(each).matches(platform));
  }

  async #config(upstream: Upstream, repository: Repository, child: Manifest): Promise<boolean> {
    const { content } = parseManifest(child.bytes, child.descriptor.mediaType);
    if (content.kind !== 'image') return true;
    const { digest } = content.config;
    if (!this.#options.mayPrefetch(upstream, repository.name)) return false;
    return this.#blob({ upstream, repository, digest }, 'config');
  }

  /** False if a part could not be downloaded. Throws PullError. */
  async #attestations(
    upstream: Upstream,
    repository: Repository,
    { attestations, mayPull }: { readonly attestations: readonly Digest[]; readonly mayPull: boolean },
  ): Promise<boolean> {
    let isDone = true;
    for (const digest of attestations) {
      const isCached = mayPull || (await this.#options.store.getManifest(digest)) !== undefined;
      if (!isCached) continue;
      const manifest = await this.#manifest(upstream, repository, { digest, kind: 'attestation' });
      isDone = (await this.#statements(upstream, repository, manifest)) && isDone;
    }
    return isDone;
  }

  /** One after the other, since they are small and downloads for clients go first. */
  async #statements(upstream: Upstream, repository: Repository, attestation: Manifest): Promise<boolean> {
    const { content } = parseManifest(attestation.bytes, attestation.descriptor.mediaType);
    if (content.kind === 'index' || isRunnableImage(content)) return true;
    const blobs = blobsOf(content);
    const bytes = blobs.reduce((sum, { size }) => sum + size, 0);
    if (blobs.length > MAX_STATEMENTS || bytes > MAX_STATEMENT_BYTES) return true;
    await this.#options.links.expand(repository, attestation);
    let isDone = true;
    for (const { digest } of blobs) {
      if (this.#isClosed || upstream.outage(repository.name) !== undefined) return false;
      isDone = (await this.#blob({ upstream, repository, digest }, 'statement')) && isDone;
    }
    return isDone;
  }

  /** False if it could not be downloaded. */
  async #blob(blob: WantedBlob, kind: PrefetchKind): Promise<boolean> {
    const fill = await this.#options.blobs.prefetch(blob);
    const isStored = await fill?.stored;
    if (isStored === true) this.#options.tell('prefetched', { kind });
    return isStored !== false;
  }

  /** From the cache or, if enough pulls are left, from upstream. Throws PullError. */
  async #manifest(
    upstream: Upstream,
    repository: Repository,
    { digest, kind }: { readonly digest: Digest; readonly kind: PrefetchKind },
  ): Promise<Manifest> {
    const { store, links, fetcher, negative, mayPrefetch, tell } = this.#options;
    const stored = await store.getManifest(digest);
    // It may be cached for another repository only. A client's own request asks upstream about that.
    if (stored !== undefined && (await links.get(repository, digest)) !== undefined) return stored;
    if (stored !== undefined)
      throw new PullError('unavailable', `${digest} is not known to be in ${repositoryKey(repository)}`);
    if (negative.has(repository, digest) || !mayPrefetch(upstream, repository.name)) {
      throw new PullError('unavailable', `${digest} is not prefetched`);
    }
    const { promise, joined } = fetcher.fetch(upstream, repository, { kind: 'digest', digest });
    const manifest = await promise;
    if (!joined) tell('prefetched', { kind });
    return manifest;
  }

  /** Skips work that was done or has failed just now. */
  #runOnce(key: string, work: () => Promise<boolean>): void {
    if (this.#isFull || this.#ready.has(key)) return;
    this.#ready.set(key, true);
    this.#run(async () => {
      let isDone = false;
      try {
        isDone = await work();
      } finally {
        if (!isDone) this.#ready.set(key, true, { ttl: RETRY_AFTER_MS });
      }
    });
  }

  get #isFull(): boolean {
    return this.#isClosed || this.#running.size >= MAX_AT_ONCE;
  }

  #run(work: () => Promise<void>): void {
    if (this.#isFull) return;
    const running = work()
      .catch((error: unknown) => {
        if (!(error instanceof PullError)) {
          this.#options.tell('fault', { where: 'read-ahead', error });
        }
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }
}
