import type { Digest } from '../oci/digest.ts';
import { repositoryKey, type Repository } from '../oci/reference.ts';
import { BlobStoreError, type BlobStore } from '../store/blob-store.ts';
import type { Link } from '../store/manifest-store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { BlobBody } from './blob-body.ts';
import { BlobFill, type FillEnd } from './blob-fill.ts';
import { BypassBody } from './bypass-body.ts';
import type { CacheStatus } from './cache-status.ts';
import type { ContentLinks } from './content-links.ts';
import { failureError } from './outcome-error.ts';
import type { RepositoryAccess } from './repository-access.ts';
import { storedBody } from './stored-body.ts';

export interface BlobPullerOptions {
  readonly blobs: BlobStore;
  readonly links: ContentLinks;
  readonly access: RepositoryAccess;
  /** Told of every fill that has ended, for logs and metrics. */
  readonly onFillEnd: (end: FillEnd & { readonly repository: Repository; readonly digest: Digest }) => void;
}

interface RunningFill {
  readonly fill: BlobFill;
  readonly repository: Repository;
}

/** Serves blobs: from the disk, from the fill that is running, or by starting one. At most one fill per digest. */
export class BlobPuller {
  readonly #options: BlobPullerOptions;
  readonly #fills = new Map<Digest, RunningFill>();
  #isClosed = false;

  constructor(options: BlobPullerOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#fills.size;
  }

  /** Opens nothing and fills nothing: a cold blob is asked for by HEAD. Throws PullError. */
  async head(
    upstream: Upstream,
    repository: Repository,
    digest: Digest,
  ): Promise<{ readonly size: number | undefined; readonly cache: CacheStatus }> {
    const { access, blobs, links } = this.#options;
    await access.admit(upstream, repository, { kind: 'blob', digest });
    const stored = await blobs.stat(digest);
    const filling = this.#fills.get(digest)?.fill.size;
    const size = stored?.size ?? filling;
    if (size !== undefined) {
      await this.#requireLink(upstream, repository, digest);
      return { size, cache: stored === undefined ? 'collapsed' : 'hit' };
    }
    const outcome = await upstream.headBlob(repository.name, digest, { identity: 'configured' });
    if (outcome.kind !== 'ok') throw failureError(outcome, digest, 'blob-unknown');
    const known = await links.get(repository, digest);
    if (known === undefined) await links.add(repository, digest, outcome.value.size);
    return { size: outcome.value.size ?? known?.size, cache: 'miss' };
  }

  /** The blob's bytes; the caller closes the body. Throws PullError. */
  async open(upstream: Upstream, repository: Repository, digest: Digest): Promise<BlobBody> {
    await this.#options.access.admit(upstream, repository, { kind: 'blob', digest });
    const running = this.#fills.get(digest);
    if (running !== undefined) return this.#join(upstream, repository, digest, running);
    const link = await this.#options.links.get(repository, digest);
    const stored = await this.#options.blobs.open(digest);
    if (stored === undefined) return this.#fill(upstream, repository, digest, link);
    try {
      if (link === undefined) await this.#requireLink(upstream, repository, digest);
    } catch (error) {
      await stored.close();
      throw error;
    }
    return storedBody(stored);
  }

  /** Ends all fills; resolves when their parts are gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const fills = [...this.#fills.values()];
    for (const { fill } of fills) fill.abort();
    await Promise.all(fills.map(({ fill }) => fill.ended));
  }

  async #join(
    upstream: Upstream,
    repository: Repository,
    digest: Digest,
    running: RunningFill,
  ): Promise<BlobBody> {
    const isOwn = repositoryKey(running.repository) === repositoryKey(repository);
    if (running.fill.hasFailed) {
      await running.fill.ended;
      return this.#fill(upstream, repository, digest, await this.#options.links.get(repository, digest));
    }
    if (!isOwn) await this.#requireLink(upstream, repository, digest);
    try {
      await running.fill.started;
    } catch (error) {
      if (error instanceof BlobStoreError) return this.#bypass(upstream, repository, digest);
      // The other repository's failure need not be ours.
      if (isOwn) throw error;
      return this.#fill(upstream, repository, digest, await this.#options.links.get(repository, digest));
    }
    return running.fill.join('collapsed');
  }

  async #fill(
    upstream: Upstream,
    repository: Repository,
    digest: Digest,
    link: Link | undefined,
  ): Promise<BlobBody> {
    const running = this.#fills.get(digest);
    if (running !== undefined) return this.#join(upstream, repository, digest, running);
    const fill = this.#start(upstream, repository, digest, link);
    try {
      await fill.started;
    } catch (error) {
      if (error instanceof BlobStoreError) return this.#bypass(upstream, repository, digest);
      throw error;
    }
    const body = fill.join('stored');
    if (link === undefined) await this.#options.links.add(repository, digest, fill.size);
    return body;
  }

  #start(upstream: Upstream, repository: Repository, digest: Digest, link: Link | undefined): BlobFill {
    const fill = new BlobFill({
      digest,
      expectedSize: link?.size,
      isNamed: link?.by === 'manifest',
      open: (offset) => upstream.getBlob(repository.name, digest, { identity: 'configured', offset }),
      createPart: (expectedSize) => this.#options.blobs.createPart(digest, expectedSize),
    });
    this.#fills.set(digest, { fill, repository });
    if (this.#isClosed) fill.abort();
    void fill.ended.then((end) => {
      this.#fills.delete(digest);
      this.#options.onFillEnd({ ...end, repository, digest });
    });
    return fill;
  }

  async #bypass(upstream: Upstream, repository: Repository, digest: Digest): Promise<BlobBody> {
    const open = (offset: number) =>
      upstream.getBlob(repository.name, digest, { identity: 'configured', offset });
    const outcome = await open(0);
    if (outcome.kind !== 'ok') throw failureError(outcome, digest, 'blob-unknown');
    const link = await this.#options.links.get(repository, digest);
    if (link === undefined) await this.#options.links.add(repository, digest, outcome.value.totalSize);
    return new BypassBody({ digest, size: link?.size, first: outcome.value, open });
  }

  async #requireLink(upstream: Upstream, repository: Repository, digest: Digest): Promise<void> {
    await this.#options.links.require(repository, digest, {
      head: () => upstream.headBlob(repository.name, digest, { identity: 'configured' }),
      absent: 'blob-unknown',
    });
  }
}
