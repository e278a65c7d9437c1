import { type CacheStatus, NOBODY } from '../../mirror/answer/answers.ts';
import { PullError } from '../../mirror/answer/errors.ts';
import type { ManifestFetcher } from '../../mirror/manifest/fetch.ts';
import type { ManifestPuller } from '../../mirror/manifest/manifests.ts';
import { entryFor } from '../../mirror/manifest/platforms.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatImageName, parseImageName, type ImageName } from '../../oci/image-name.ts';
import { attestedDigest, type Descriptor, type Manifest } from '../../oci/manifest.ts';
import { isIndexType } from '../../oci/media-types.ts';
import { formatPlatform, parsePlatform, PLATFORM_FORM, type Platform } from '../../oci/platform.ts';
import type { Repository } from '../../oci/reference.ts';
import type { BlobStore } from '../../store/blobs.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import {
  type ResolvedChoice,
  type ResolvedManifest,
  type Resolution,
  type ResolutionCost,
  type ResolveRequest,
  OperationError,
} from '../protocol.ts';
import type { ManifestLook } from './look.ts';
import { ManifestTree } from './tree.ts';

export interface ImageResolverOptions {
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly manifests: ManifestPuller;
  readonly look: ManifestLook;
  readonly fetcher: ManifestFetcher;
  readonly store: ManifestStore;
  readonly blobs: BlobStore;
  /** The platforms of the settings, for requests without a platform, and which clients have each. */
  readonly clients: readonly { readonly platform: Platform; readonly why: string }[];
  /** Earlier digests of a tag, the newest first. */
  readonly namedBefore: (repository: Repository, tag: string) => readonly Digest[];
}

const ALL = 'all';

/** State of one request. */
interface Work {
  readonly name: ImageName;
  readonly upstream: Upstream;
  readonly signal: AbortSignal;
  readonly mayFetch: boolean;
  /** Missing manifests that were not fetched. */
  readonly unfetched: Set<Digest>;
}

type Drawn = Pick<Resolution, 'root' | 'choices'>;
type Whom = ImageResolverOptions['clients'] | typeof ALL;

/**
 * Finds the manifests that clients would get for an image. Reads the cache; asks upstream for manifests only with `fetch`.
 * Never downloads blobs, and counts no pull of a client.
 */
export class ImageResolver {
  readonly #options: ImageResolverOptions;

  constructor(options: ImageResolverOptions) {
    this.#options = options;
  }

  /** Throws OperationError. */
  async resolve(request: ResolveRequest, signal: AbortSignal): Promise<Resolution> {
    const name = parseImageName(request.image);
    if (name === undefined)
      throw new OperationError('usage', `${JSON.stringify(request.image)} is not the name of an image`);
    const upstream = this.#options.upstreams.get(name.repository.host);
    if (upstream === undefined) {
      throw new OperationError(
        'usage',
        `${name.repository.host} is not an upstream; add it to \`upstreams\``,
      );
    }
    const whom = this.#whom(request);
    const mayFetch = request.fetch === true;
    const work: Work = { name, upstream, signal, mayFetch, unfetched: new Set() };
    try {
      const { descriptor, source } = await this.#named(work);
      const root = await this.#load(work, descriptor.digest);
      const drawn = root === undefined ? unknownRoot(descriptor, whom) : await this.#draw(work, root, whom);
      const before = drawn.root.isComplete ? undefined : await this.#before(work, descriptor.digest);
      return {
        image: formatImageName(name),
        source,
        ...drawn,
        cost: costOf(work, drawn.root, whom),
        before,
      };
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      throw new OperationError(error.code === 'unavailable' ? 'failed' : 'not-found', error.message, error);
    }
  }

  #whom({ platform: text }: ResolveRequest): Whom {
    if (text === undefined) return this.#options.clients;
    if (text === ALL) return ALL;
    const platform = parsePlatform(text);
    if (platform === undefined) {
      throw new OperationError(
        'usage',
        `${JSON.stringify(text)} is not a platform; allowed: ${ALL}, ${PLATFORM_FORM}`,
      );
    }
    return [{ platform, why: 'asked for' }];
  }

  /** The manifest of the name. With `fetch`, a moved tag costs a pull. */
  async #named({
    name,
    upstream,
    mayFetch,
  }: Work): Promise<{ readonly descriptor: Descriptor; readonly source: string }> {
    const { manifests, look } = this.#options;
    if (!mayFetch) {
      const { descriptor, cache, reason } = await look.at(upstream, name);
      return { descriptor, source: sourceOf(cache, reason) };
    }
    const answer = await manifests.pull(upstream, { ...name, client: NOBODY, headOnly: true });
    return { descriptor: answer.head, source: sourceOf(answer.cache, answer.stale?.reason) };
  }

  /** After a tag has moved, its new image may be partial while the earlier one is cached. */
  async #before({ name, upstream, signal }: Work, now: Digest): Promise<Digest | undefined> {
    const { repository, reference } = name;
    if (reference.kind !== 'tag') return undefined;
    const known = await this.#options.store.getTag(repository, reference.tag);
    const earlier = known === undefined ? [] : [known.descriptor.digest];
    for (const digest of [...earlier, ...this.#options.namedBefore(repository, reference.tag)]) {
      const stored = digest === now ? undefined : await this.#options.store.getManifest(digest);
      if (stored === undefined) continue;
      const work: Work = { name, upstream, signal, mayFetch: false, unfetched: new Set() };
      const { root } = await this.#draw(work, stored, this.#options.clients);
      if (root.isComplete) return digest;
    }
    return undefined;
  }

  async #draw(work: Work, root: Manifest, whom: Whom): Promise<Drawn> {
    const choices = whom === ALL ? [] : await this.#choices(work, root, whom);
    const chosen = new Map<Digest, string[]>();
    for (const { digest, why, platform } of choices) {
      if (digest !== undefined) chosen.set(digest, [...(chosen.get(digest) ?? []), `${platform}, ${why}`]);
    }
    const tree = new ManifestTree({
      store: this.#options.store,
      blobs: this.#options.blobs,
      signal: work.signal,
      isWanted: (entry) => (whom === ALL ? attestedDigest(entry) === undefined : chosen.has(entry.digest)),
      load: (digest) => this.#load(work, digest),
      whoGets: (digest) => chosen.get(digest) ?? [],
    });
    return { root: await tree.draw(root.descriptor), choices };
  }

  async #choices(
    work: Work,
    root: Manifest,
    whom: ImageResolverOptions['clients'],
  ): Promise<ResolvedChoice[]> {
    const choices: ResolvedChoice[] = [];
    for (const { platform, why } of whom) {
      work.signal.throwIfAborted();
      const choice = { platform: formatPlatform(platform), why };
      choices.push({ ...choice, ...(await this.#choose(work, root, platform)) });
    }
    return choices;
  }

  /** A manifest without an index is for all platforms. */
  async #choose(
    work: Work,
    root: Manifest,
    platform: Platform,
  ): Promise<Pick<ResolvedChoice, 'digest' | 'failure'>> {
    if (!isIndexType(root.descriptor.mediaType)) return { digest: root.descriptor.digest };
    try {
      const entry = await entryFor(platform, root, ({ digest }) => this.#loadIndex(work, digest));
      return entry === undefined ? {} : { digest: entry.digest };
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      return { failure: error.message };
    }
  }

  async #loadIndex(work: Work, digest: Digest): Promise<Manifest> {
    const index = await this.#load(work, digest);
    if (index === undefined) throw new PullError('unavailable', `the nested index ${digest} is not cached`);
    return index;
  }

  /** Undefined: not cached, and the request does not allow to fetch. Throws PullError. */
  async #load(work: Work, digest: Digest): Promise<Manifest | undefined> {
    const { name, upstream, mayFetch, unfetched } = work;
    const stored = await this.#options.store.getManifest(digest);
    if (stored !== undefined) return stored;
    if (!mayFetch) {
      unfetched.add(digest);
      return undefined;
    }
    return this.#options.fetcher.fetch(upstream, name.repository, { kind: 'digest', digest }).promise;
  }
}

function sourceOf(cache: CacheStatus, reason: string | undefined): string {
  if (reason !== undefined) return `stale: ${reason}`;
  return cache === 'hit' ? 'from the cache' : 'checked upstream';
}

/** The descriptor of a manifest that is not cached gives only its media type. */
function unknownRoot(descriptor: Descriptor, whom: Whom): Drawn {
  const isIndex = isIndexType(descriptor.mediaType);
  const choices = (whom === ALL ? [] : whom).map(({ platform, why }) => ({
    platform: formatPlatform(platform),
    why,
    ...(isIndex ? { failure: 'the index is not cached' } : { digest: descriptor.digest }),
  }));
  return {
    root: { ...descriptor, isCached: false, state: 'missing', isComplete: false, chosenFor: [] },
    choices,
  };
}

function costOf({ name, upstream, unfetched }: Work, root: ResolvedManifest, whom: Whom): ResolutionCost {
  // A missing index leads to one manifest at least.
  const isUnknownIndex = !root.isCached && isIndexType(root.mediaType);
  const inIndex = isUnknownIndex ? Math.max(1, whom === ALL ? 0 : platformsOf(whom)) : 0;
  const pulls = unfetched.size + inIndex;
  const { remaining } = (pulls === 0 ? undefined : upstream.allowance(name.repository.name)) ?? {};
  return { pulls, isAtLeast: isUnknownIndex, remaining };
}

function platformsOf(whom: ImageResolverOptions['clients']): number {
  return new Set(whom.map(({ platform }) => formatPlatform(platform))).size;
}
