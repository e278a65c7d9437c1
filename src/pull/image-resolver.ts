import type { Digest } from '../oci/digest.ts';
import { formatImageName, parseImageName, type ImageName } from '../oci/image-name.ts';
import { attestedDigest, type Descriptor } from '../oci/manifest.ts';
import { isIndexType } from '../oci/media-types.ts';
import { formatPlatform, parsePlatform, PLATFORM_FORM, type Platform } from '../oci/platform.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { ManifestStore, StoredManifest } from '../store/manifest-store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { ResolvedChoice, Resolution, ResolveRequest } from './image-resolution.ts';
import { ManifestDrawing } from './manifest-drawing.ts';
import type { ManifestFetcher } from './manifest-fetcher.ts';
import type { ManifestAnswer, ManifestPuller } from './manifest-puller.ts';
import { OperationError } from './operations.ts';
import { entryFor } from './platform-resolver.ts';
import { PullError } from './pull-error.ts';

export interface ImageResolverOptions {
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly manifests: ManifestPuller;
  readonly fetcher: ManifestFetcher;
  readonly store: ManifestStore;
  readonly blobs: BlobStore;
  /** Whom to resolve for unless asked: who they are, and what they run. */
  readonly clients: readonly { readonly platform: Platform; readonly why: string }[];
}

const ALL = 'all';

/** What is known while one image is being resolved. */
interface Work {
  readonly name: ImageName;
  readonly upstream: Upstream;
  readonly signal: AbortSignal;
}

/**
 * Says who would get what for an image, without serving or counting it: from the cache, and from upstream what is
 * needed for it. Only manifests are fetched; whether blobs are there is looked up.
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
      throw new OperationError('usage', `${name.repository.host} is not among the upstreams`);
    }
    const whom = this.#whom(request);
    const work = { name, upstream, signal };
    try {
      const answer = await this.#named(work);
      const root = await this.#load(work, answer.descriptor.digest);
      return {
        image: formatImageName(name),
        source: sourceOf(answer),
        ...(await this.#draw(work, root, whom)),
      };
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      throw new OperationError(error.code === 'unavailable' ? 'failed' : 'not-found', error.message, error);
    }
  }

  #whom({ platform: text }: ResolveRequest): ImageResolverOptions['clients'] | typeof ALL {
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

  /** What the name stands for: asked by HEAD if it is not known, which costs no pull. */
  #named({ name, upstream }: Work): Promise<ManifestAnswer> {
    const client = {
      address: '',
      accept: undefined,
      userAgent: undefined,
      platform: undefined,
      rule: undefined,
    };
    return this.#options.manifests.pull(upstream, { ...name, client, headOnly: true });
  }

  async #draw(
    work: Work,
    root: StoredManifest,
    whom: ImageResolverOptions['clients'] | typeof ALL,
  ): Promise<Pick<Resolution, 'root' | 'choices'>> {
    const choices = whom === ALL ? [] : await this.#choices(work, root, whom);
    const chosen = new Map<Digest, string[]>();
    for (const { digest, why, platform } of choices) {
      if (digest !== undefined) chosen.set(digest, [...(chosen.get(digest) ?? []), `${platform}, ${why}`]);
    }
    const drawing = new ManifestDrawing({
      store: this.#options.store,
      blobs: this.#options.blobs,
      signal: work.signal,
      isWanted: (entry) => (whom === ALL ? attestedDigest(entry) === undefined : chosen.has(entry.digest)),
      load: (digest) => this.#load(work, digest),
      whoGets: (digest) => chosen.get(digest) ?? [],
    });
    return { root: await drawing.draw(descriptorOf(root)), choices };
  }

  async #choices(
    work: Work,
    root: StoredManifest,
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

  /** What is no list is for everybody. */
  async #choose(
    work: Work,
    root: StoredManifest,
    platform: Platform,
  ): Promise<Pick<ResolvedChoice, 'digest' | 'failure'>> {
    if (!isIndexType(root.mediaType)) return { digest: root.digest };
    try {
      const entry = await entryFor(platform, root, ({ digest }) => this.#load(work, digest));
      return entry === undefined ? {} : { digest: entry.digest };
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      return { failure: error.message };
    }
  }

  async #load({ name, upstream }: Work, digest: Digest): Promise<StoredManifest> {
    const stored = await this.#options.store.getManifest(digest);
    if (stored !== undefined) return stored;
    return this.#options.fetcher.fetch(upstream, name.repository, { kind: 'digest', digest }).promise;
  }
}

function descriptorOf({ digest, mediaType, bytes }: StoredManifest): Descriptor {
  return { digest, mediaType, size: bytes.length };
}

function sourceOf({ cache, stale }: ManifestAnswer): string {
  if (stale !== undefined) return `out of date: ${stale.reason}`;
  return cache === 'hit' ? 'from the cache' : 'as upstream says now';
}
