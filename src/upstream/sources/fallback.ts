import type { Tell } from '../../events/events.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import type { Reference } from '../../oci/reference.ts';
import type { TagPage } from '../../oci/tag-page.ts';
import type {
  Allowance,
  AskOptions,
  BlobOptions,
  BlobStream,
  ContentSize,
  FetchedManifest,
  Outcome,
  ReferrersList,
  TagList,
  Upstream,
} from '../upstream.ts';

/** One registry and its fallback addresses with the same images, the registry first. */
export function createFallbackUpstream(
  upstreams: readonly [Upstream, ...Upstream[]],
  tell: Tell<'fallback'>,
): Upstream {
  return new FallbackUpstream(upstreams, tell);
}

/**
 * Asks the addresses in order, while the earlier ones are unreachable or limit this server. The registry's own word,
 * that an image exists or not, is final. Each address has its own breakers, so one that is known to be unreachable
 * costs no wait. A blob that breaks off is asked for again from that byte, and so goes on at the next address.
 */
class FallbackUpstream implements Upstream {
  readonly #first: Upstream;
  readonly #all: readonly Upstream[];
  readonly #tell: Tell<'fallback'>;

  constructor(upstreams: readonly [Upstream, ...Upstream[]], tell: Tell<'fallback'>) {
    this.#first = upstreams[0];
    this.#all = upstreams;
    this.#tell = tell;
  }

  get host(): string {
    return this.#first.host;
  }

  get hasCredentials(): boolean {
    return this.#first.hasCredentials;
  }

  headManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<Descriptor | undefined>> {
    return this.#ask(options, (upstream) => upstream.headManifest(repository, reference, options));
  }

  confirmManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<ContentSize>> {
    return this.#ask(options, (upstream) => upstream.confirmManifest(repository, reference, options));
  }

  getManifest(
    repository: string,
    reference: Reference,
    options: AskOptions,
  ): Promise<Outcome<FetchedManifest>> {
    return this.#ask(options, (upstream) => upstream.getManifest(repository, reference, options));
  }

  headBlob(repository: string, digest: Digest, options: AskOptions): Promise<Outcome<ContentSize>> {
    return this.#ask(options, (upstream) => upstream.headBlob(repository, digest, options));
  }

  getBlob(repository: string, digest: Digest, options: BlobOptions): Promise<Outcome<BlobStream>> {
    return this.#ask(options, (upstream) => upstream.getBlob(repository, digest, options));
  }

  listTags(repository: string, page: TagPage, options: AskOptions): Promise<Outcome<TagList>> {
    return this.#ask(options, (upstream) => upstream.listTags(repository, page, options));
  }

  listReferrers(repository: string, digest: Digest, options: AskOptions): Promise<Outcome<ReferrersList>> {
    return this.#ask(options, (upstream) => upstream.listReferrers(repository, digest, options));
  }

  isReachable(): boolean {
    return this.#all.some((upstream) => upstream.isReachable());
  }

  outage(repository?: string): string | undefined {
    const outages = this.#all.map((upstream) => upstream.outage(repository));
    return outages.includes(undefined) ? undefined : outages[0];
  }

  isSlow(repository?: string): boolean {
    return this.#current(repository).isSlow(repository);
  }

  reportSlow(since: number): void {
    this.#current(undefined).reportSlow(since);
  }

  shortage(repository: string): string | undefined {
    return this.#current(repository).shortage(repository);
  }

  allowance(repository: string): Allowance | undefined {
    return this.#current(repository).allowance(repository);
  }

  mayPrefetch(repository: string): boolean {
    return this.#current(repository).mayPrefetch(repository);
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((upstream) => upstream.close()));
  }

  /** The address that the next request will probably reach. */
  #current(repository: string | undefined): Upstream {
    return this.#all.find((upstream) => upstream.outage(repository) === undefined) ?? this.#first;
  }

  /** If all addresses fail, the outcome of the first one counts. */
  async #ask<T>(
    { identity, signal }: AskOptions,
    ask: (upstream: Upstream) => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> {
    const first = await ask(this.#first);
    // Only the registry decides about private images: a fallback may show more to anonymous clients.
    if (!isElsewhereBetter(first) || (identity === 'anonymous' && this.hasCredentials)) return first;
    for (const upstream of this.#all.slice(1)) {
      signal?.throwIfAborted();
      const outcome = await ask(upstream);
      // A fallback need not have every image, so its "not found" says nothing.
      if (outcome.kind !== 'ok') continue;
      this.#tell('fallback', { upstream: this.host });
      return outcome;
    }
    return first;
  }
}

function isElsewhereBetter(outcome: Outcome<unknown>): boolean {
  return outcome.kind === 'limited' || outcome.kind === 'unavailable';
}
