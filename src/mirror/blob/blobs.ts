import { BlobBodyError } from '../../download/errors.ts';
import type { Digest } from '../../oci/digest.ts';
import { type Repository, repositoryKey } from '../../oci/reference.ts';
import { type BlobStore, type StoredBlob, BlobStoreError } from '../../store/blobs.ts';
import type { Link } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { RepositoryAccess } from '../access/access.ts';
import type { ContentLinks } from '../access/links.ts';
import type { BlobBody, CacheStatus } from '../answer/answers.ts';
import { failureError, isLate, PullError } from '../answer/errors.ts';
import { BypassBody } from './bypass.ts';
import type { Fill, FillEnd } from './fill.ts';
import { Fills, followed, opener, type FillsOptions, type WantedBlob } from './fills.ts';

/** The body of a blob on disk. It was verified, so its end is not held back. */
function storedBody(blob: StoredBlob): BlobBody {
  let isClosed = false;
  return {
    size: blob.size,
    content: blob.content,
    cache: 'hit',
    section: (range) => {
      let position = range?.start ?? 0;
      const end = range?.end ?? blob.size;
      return {
        read: async (buffer) => {
          if (position >= end) return [];
          const read = await blob.read(buffer, Math.min(buffer.length, end - position), position);
          if (read === 0) throw new BlobBodyError('broken', 'the file of a cached blob became shorter');
          position += read;
          return [buffer.subarray(0, read)];
        },
      };
    },
    close: () => {
      if (isClosed) return;
      isClosed = true;
      // A failure to close has no effect on the client.
      blob.close().catch(() => undefined);
    },
  };
}

export interface BlobPullerOptions extends FillsOptions {
  readonly blobs: BlobStore;
  readonly links: ContentLinks;
  readonly access: RepositoryAccess;
}

/** A client's request for a blob. */
export interface BlobRequest extends WantedBlob {
  /** The client's address. */
  readonly client: string;
}

/** A request that joined a fill which timed out starts one more, and only one (see lib/single-flight.ts). */
interface Asked extends BlobRequest {
  readonly isSecond?: true;
}

/** A fill that no client has asked for. */
export interface Prefetch {
  /** Resolves at its end: whether the blob was stored. */
  readonly stored: Promise<boolean>;
}

/** Serves blobs from disk, from a running fill or from a new one. */
export class BlobPuller {
  readonly #options: BlobPullerOptions;
  readonly #fills: Fills;

  constructor(options: BlobPullerOptions) {
    this.#options = options;
    this.#fills = new Fills(options);
  }

  /** Number of fills, queued ones included. */
  get running(): number {
    return this.#fills.size;
  }

  isFilling(digest: Digest): boolean {
    return this.#fills.has(digest);
  }

  get queued(): number {
    return this.#fills.queued;
  }

  /** Starts no fill: a missing blob costs a HEAD upstream. Throws PullError. */
  async head(
    upstream: Upstream,
    repository: Repository,
    digest: Digest,
  ): Promise<{ readonly size: number | undefined; readonly cache: CacheStatus }> {
    const { access, blobs, links } = this.#options;
    await access.admit(upstream, repository, { kind: 'blob', digest });
    const stored = await blobs.stat(digest).catch(unreadable);
    const filling = this.#fills.get(digest);
    const size = stored?.size ?? filling?.size;
    if (size !== undefined) {
      const link = await this.#requireLink(upstream, repository, digest);
      if (stored !== undefined) return { size, cache: 'hit' };
      if (filling?.contradicts(link.size) !== true) return { size, cache: 'collapsed' };
    }
    const outcome = await upstream.headBlob(repository.name, digest, { identity: 'configured' });
    if (outcome.kind !== 'ok') {
      throw failureError(outcome, { what: digest, host: repository.host, absent: 'blob-unknown' });
    }
    const known = await links.get(repository, digest);
    if (known === undefined) await links.add(repository, digest, outcome.value.size);
    return { size: outcome.value.size ?? known?.size, cache: 'miss' };
  }

  /** The blob's bytes; the caller closes the body. Throws PullError. */
  async open(request: BlobRequest): Promise<BlobBody> {
    const { upstream, repository, digest } = request;
    await this.#options.access.admit(upstream, repository, { kind: 'blob', digest });
    const running = this.#fills.get(digest);
    if (running !== undefined) return this.#join(request, running);
    const link = await this.#options.links.get(repository, digest);
    let stored: StoredBlob | undefined;
    try {
      stored = await this.#options.blobs.open(digest);
    } catch (error) {
      // An unreadable blob is not downloaded again: a failing disk would lose all blobs at once.
      if (error instanceof BlobStoreError) return this.#bypass(request);
      throw error;
    }
    if (stored === undefined) return this.#fill(request, link);
    try {
      if (link === undefined) await this.#requireLink(upstream, repository, digest);
    } catch (error) {
      await stored.close();
      throw error;
    }
    return storedBody(stored);
  }

  /**
   * Starts a fill that no client has asked for, after all fills with a reader; clients can join. Undefined if the blob
   * is cached or being filled, or cannot be stored. `stored` never rejects.
   */
  async prefetch(blob: WantedBlob): Promise<Prefetch | undefined> {
    const { repository, digest } = blob;
    const { blobs, links } = this.#options;
    const link = await links.get(repository, digest);
    if (link?.by !== 'manifest' || this.#fills.isClosed || blobs.isFailing) return undefined;
    if (this.#fills.has(digest) || (await this.#isStoredOrUnreadable(digest))) return undefined;
    // A fill may have started during the await.
    if (this.#fills.has(digest)) return undefined;
    const { ended } = this.#fills.start(blob, link);
    return { stored: ended.then(({ result }) => result === 'stored') };
  }

  /**
   * Downloads a lost blob again, by a fill that clients can join. Resolves when the blob is stored. Throws PullError.
   */
  async restore(request: BlobRequest): Promise<void> {
    const { digest } = request;
    const body = await this.open(request);
    let end: FillEnd | undefined;
    try {
      end = await this.#fills.get(digest)?.ended;
    } finally {
      body.close();
    }
    if ((await this.#options.blobs.stat(digest)) !== undefined) return;
    const reason = end?.error instanceof Error ? end.error.message : 'it could not be stored';
    throw new PullError('unavailable', reason, { cause: end?.error });
  }

  /**
   * Downloads a blob unless it is stored, after all fills with a reader; clients can join. Resolves when the blob is
   * stored. Throws PullError.
   */
  async store(blob: WantedBlob): Promise<void> {
    const { repository, digest } = blob;
    if ((await this.#options.blobs.stat(digest)) !== undefined) return;
    const link = await this.#options.links.get(repository, digest);
    const running = this.#fills.get(digest);
    const fill = running ?? this.#fills.start(blob, link);
    const { result, error } = await fill.ended;
    if (result === 'stored') return;
    // Another repository may have started that fill, and its failure may not apply to this one.
    if (running !== undefined && !this.#fills.isClosed) return this.store(blob);
    const reason = error instanceof Error ? error.message : `it could not be stored (${result})`;
    throw new PullError('unavailable', reason, { cause: error });
  }

  /** Bytes that the running fill of a blob has written. */
  writtenBytes(digest: Digest): number {
    return this.#fills.get(digest)?.progress.written.bytes ?? 0;
  }

  /** Ends all fills; resolves when their parts are kept for the next start. */
  close(): Promise<void> {
    return this.#fills.close();
  }

  async #join(request: Asked, fill: Fill): Promise<BlobBody> {
    const { upstream, repository, digest, client, isSecond } = request;
    const isOwn = repositoryKey(fill.repository) === repositoryKey(repository);
    if (!isOwn && !fill.isOver) {
      const link = await this.#requireLink(upstream, repository, digest);
      // Two manifests state different sizes. The wrong one must not break the clients of the other.
      if (fill.contradicts(link.size)) return this.#bypass(request);
    }
    let again: Asked = request;
    try {
      const body = await followed(fill, 'collapsed', client);
      if (body !== undefined) return body;
    } catch (error) {
      if (error instanceof BlobStoreError) return this.#bypass(request);
      // The failure of another repository may not apply to this one.
      if (isOwn && (isSecond === true || !isLate(error))) throw error;
      if (isLate(error)) again = { ...request, isSecond: true };
    }
    const { result } = await fill.ended;
    if (result === 'stored') return this.open(request);
    return this.#fill(again, await this.#options.links.get(repository, digest));
  }

  async #fill(request: Asked, link: Link | undefined): Promise<BlobBody> {
    const { repository, digest, client } = request;
    const running = this.#fills.get(digest);
    if (running !== undefined) return this.#join(request, running);
    const fill = this.#fills.start(request, link);
    let body: BlobBody | undefined;
    try {
      body = await followed(fill, 'stored', client);
    } catch (error) {
      if (error instanceof BlobStoreError) return this.#bypass(request);
      throw error;
    }
    if (body === undefined) return this.#afterwards(request, fill);
    if (link === undefined) await this.#options.links.add(repository, digest, fill.size);
    return body;
  }

  /** For a fill that ended before its reader could start. */
  async #afterwards(request: BlobRequest, fill: Fill): Promise<BlobBody> {
    const { repository, digest } = request;
    const { result } = await fill.ended;
    if (result === 'stored') {
      await this.#options.links.add(repository, digest, fill.size);
      return this.open(request);
    }
    if (result === 'disk') return this.#bypass(request);
    throw new PullError(
      'unavailable',
      `${digest} could not be downloaded from ${repository.host} (${result})`,
    );
  }

  async #isStoredOrUnreadable(digest: Digest): Promise<boolean> {
    try {
      return (await this.#options.blobs.stat(digest)) !== undefined;
    } catch (error) {
      unreadable(error);
      return true;
    }
  }

  async #bypass(request: BlobRequest): Promise<BlobBody> {
    const { repository, digest } = request;
    const link = await this.#options.links.get(repository, digest);
    const open = opener(request, link?.size);
    const outcome = await open(0, undefined);
    if (outcome.kind !== 'ok') {
      throw failureError(outcome, { what: digest, host: repository.host, absent: 'blob-unknown' });
    }
    const { totalSize } = outcome.value;
    if (link === undefined) await this.#options.links.add(repository, digest, totalSize);
    return new BypassBody({ digest, size: totalSize ?? link?.size, first: outcome.value, open });
  }

  async #requireLink(upstream: Upstream, repository: Repository, digest: Digest): Promise<Link> {
    return this.#options.links.require(repository, digest, {
      head: () => upstream.headBlob(repository.name, digest, { identity: 'configured' }),
      absent: 'blob-unknown',
    });
  }
}

function unreadable(error: unknown): undefined {
  if (!(error instanceof BlobStoreError)) throw error;
}
