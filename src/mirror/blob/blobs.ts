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

/** A blob that is on the disk: verified, so nothing is held back. */
export function storedBody(blob: StoredBlob): BlobBody {
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
          if (read === 0) throw new BlobBodyError('broken', 'a cached blob is shorter than it was');
          position += read;
          return [buffer.subarray(0, read)];
        },
      };
    },
    close: () => {
      if (isClosed) return;
      isClosed = true;
      // What cannot be closed is as good as closed.
      blob.close().catch(() => undefined);
    },
  };
}

export interface BlobPullerOptions extends FillsOptions {
  readonly blobs: BlobStore;
  readonly links: ContentLinks;
  readonly access: RepositoryAccess;
}

/** A blob as a client asks for it. */
export interface BlobRequest extends WantedBlob {
  /** The client's address. */
  readonly client: string;
}

/** Who joined a fill whose first answer was late asks once more, and no more often (see lib/single-flight.ts). */
interface Asked extends BlobRequest {
  readonly isSecond?: true;
}

/** A fill that nobody has asked for. */
export interface Prefetch {
  /** Resolves when it is over. */
  readonly stored: Promise<boolean>;
}

/** Serves blobs: from the disk, from the fill that is running, or by starting one. At most one fill per digest. */
export class BlobPuller {
  readonly #options: BlobPullerOptions;
  readonly #fills: Fills;

  constructor(options: BlobPullerOptions) {
    this.#options = options;
    this.#fills = new Fills(options);
  }

  /** Fills under way, those that wait for their turn included. */
  get running(): number {
    return this.#fills.size;
  }

  isFilling(digest: Digest): boolean {
    return this.#fills.has(digest);
  }

  get queued(): number {
    return this.#fills.queued;
  }

  /** Opens nothing and fills nothing: a cold blob is asked for by HEAD. Throws PullError. */
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
      // What the disk cannot give is not replaced: a disk that fails would lose everything at once.
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
   * Begins to fill a blob that nobody has asked for yet, behind all those that somebody reads; clients can join.
   * Undefined if there is nothing to do, or it could not be kept; `stored` never rejects.
   */
  async prefetch(blob: WantedBlob): Promise<Prefetch | undefined> {
    const { repository, digest } = blob;
    const { blobs, links } = this.#options;
    const link = await links.get(repository, digest);
    if (link?.by !== 'manifest' || this.#fills.isClosed || blobs.isFailing) return undefined;
    // One that ends meanwhile has stored it, or has just failed.
    if (this.#fills.has(digest) || (await this.#hasOrCannotTell(digest))) return undefined;
    if (this.#fills.has(digest)) return undefined;
    const { ended } = this.#fills.start(blob, link);
    return { stored: ended.then(({ result }) => result === 'stored') };
  }

  /**
   * Has a blob stored anew that was lost, by a fill that clients can join; resolves when it is stored.
   * Throws PullError.
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
    const reason = end?.error instanceof Error ? end.error.message : 'it could not be cached';
    throw new PullError('unavailable', reason, { cause: end?.error });
  }

  /**
   * Has a blob stored, behind all those that somebody reads; resolves when it is, at once if it was. Clients can join.
   * Throws PullError.
   */
  async store(blob: WantedBlob): Promise<void> {
    const { repository, digest } = blob;
    if ((await this.#options.blobs.stat(digest)) !== undefined) return;
    const link = await this.#options.links.get(repository, digest);
    const running = this.#fills.get(digest);
    const fill = running ?? this.#fills.start(blob, link);
    const { result, error } = await fill.ended;
    if (result === 'stored') return;
    // The failure of what another one had begun need not be ours.
    if (running !== undefined && !this.#fills.isClosed) return this.store(blob);
    const reason = error instanceof Error ? error.message : `it could not be cached (${result})`;
    throw new PullError('unavailable', reason, { cause: error });
  }

  /** What is written of a blob that is on its way, in bytes. */
  writtenBytes(digest: Digest): number {
    return this.#fills.get(digest)?.progress.written.bytes ?? 0;
  }

  /** Ends all fills; resolves when what they have is kept for the next start. */
  close(): Promise<void> {
    return this.#fills.close();
  }

  async #join(request: Asked, fill: Fill): Promise<BlobBody> {
    const { upstream, repository, digest, client, isSecond } = request;
    const isOwn = repositoryKey(fill.repository) === repositoryKey(repository);
    if (!isOwn && !fill.isOver) {
      const link = await this.#requireLink(upstream, repository, digest);
      // One of two manifests is wrong, and nobody knows yet which: neither is to make the other's clients fail.
      if (fill.contradicts(link.size)) return this.#bypass(request);
    }
    let again: Asked = request;
    try {
      const body = await followed(fill, 'collapsed', client);
      if (body !== undefined) return body;
    } catch (error) {
      if (error instanceof BlobStoreError) return this.#bypass(request);
      // The other repository's failure need not be ours.
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

  /** For a fill that was over before it could be joined. */
  async #afterwards(request: BlobRequest, fill: Fill): Promise<BlobBody> {
    const { repository, digest } = request;
    const { result } = await fill.ended;
    if (result === 'stored') {
      await this.#options.links.add(repository, digest, fill.size);
      return this.open(request);
    }
    throw new PullError(
      'unavailable',
      `${digest} could not be downloaded from ${repository.host} (${result})`,
    );
  }

  async #hasOrCannotTell(digest: Digest): Promise<boolean> {
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
