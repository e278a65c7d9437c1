import { PullError } from '../../mirror/answer/errors.ts';
import type { Digest } from '../../oci/digest.ts';
import {
  attestedDigest,
  MAX_INDEX_DEPTH,
  parseManifest,
  type Descriptor,
  type IndexEntry,
  type Manifest,
} from '../../oci/manifest.ts';
import { showPlatform } from '../../oci/platform.ts';
import type { BlobStore } from '../../store/blobs.ts';
import { stateOf, type CacheState } from '../../store/images.ts';
import type { ManifestStore } from '../../store/manifests.ts';
import type { ResolvedLayer, ResolvedManifest, ResolvedPart } from '../protocol.ts';

export interface ManifestTreeOptions {
  readonly store: ManifestStore;
  readonly blobs: BlobStore;
  readonly signal: AbortSignal;
  /** Whether to fetch the manifest of an entry if it is missing. */
  readonly isWanted: (entry: IndexEntry) => boolean;
  /** Fetches a missing manifest; undefined: the request does not allow it. Throws PullError. */
  readonly load: (digest: Digest) => Promise<Manifest | undefined>;
  /** The platforms that get the manifest, for people. */
  readonly whoGets: (digest: Digest) => readonly string[];
}

/** An index can have thousands of entries, and name the same nested index many times. */
const MAX_ENTRIES = 200;
/** Limits of one drawing. Each fetched manifest is a pull. */
const MAX_DRAWN = 1000;
const MAX_FETCHED = 200;
const MAX_PARTS = 10_000;

/**
 * Draws an image as a tree. Unlike `walkImage`, a manifest stands in each place where an index names it, and only the
 * manifests that are drawn are read.
 */
export class ManifestTree {
  readonly #options: ManifestTreeOptions;
  /** The drawn manifests that a platform of the request gets. */
  readonly #wanted = new WeakSet<ResolvedManifest>();
  #drawn = 0;
  #fetched = 0;
  #parts = 0;

  constructor(options: ManifestTreeOptions) {
    this.#options = options;
  }

  async draw(entry: IndexEntry | Descriptor, depth = 0): Promise<ResolvedManifest> {
    this.#options.signal.throwIfAborted();
    this.#drawn++;
    const { stored, failure } = await this.#open(entry, depth);
    const part = this.#outline(entry, stored !== undefined);
    if (failure !== undefined) return { ...part, failure };
    if (stored === undefined || depth >= MAX_INDEX_DEPTH) return part;
    const { content } = parseManifest(stored.bytes, stored.descriptor.mediaType);
    if (content.kind === 'index') return { ...part, ...(await this.#entries(content.entries, depth)) };
    this.#parts += 1 + content.layers.length + content.foreign.length;
    if (this.#parts > MAX_PARTS)
      return { ...part, failure: `not shown: the image has more than ${MAX_PARTS} blobs` };
    const config = await this.#part(content.config);
    const layers: ResolvedLayer[] = [];
    for (const layer of content.foreign) layers.push({ ...(await this.#part(layer)), isForeign: true });
    for (const layer of content.layers) layers.push({ ...(await this.#part(layer)), isForeign: false });
    const needed = [config, ...layers.filter(({ isForeign }) => !isForeign)];
    const cached = needed.filter(({ isCached }) => isCached).length;
    return { ...part, config, layers, ...shown(stateOf({ parts: needed.length, cached })) };
  }

  async #open(
    entry: IndexEntry,
    depth: number,
  ): Promise<{ readonly stored?: Manifest | undefined; readonly failure?: string }> {
    const { store, isWanted, load } = this.#options;
    const stored = await store.getManifest(entry.digest);
    if (stored !== undefined || (depth > 0 && !isWanted(entry))) return { stored };
    if (this.#fetched >= MAX_FETCHED)
      return { failure: `not fetched: more than ${MAX_FETCHED} manifests are missing` };
    this.#fetched++;
    try {
      return { stored: await load(entry.digest) };
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      return { failure: error.message };
    }
  }

  #outline(entry: IndexEntry, isCached: boolean): ResolvedManifest {
    const { digest, mediaType, size, platform } = entry;
    const attests = attestedDigest(entry);
    return {
      digest,
      mediaType,
      size,
      isCached,
      ...shown('missing'),
      chosenFor: this.#options.whoGets(digest),
      platform: platform && showPlatform(platform),
      attests,
    };
  }

  /** The state of an index is that of its wanted manifests. These are drawn even behind `MAX_ENTRIES`. */
  async #entries(
    entries: readonly IndexEntry[],
    depth: number,
  ): Promise<Pick<ResolvedManifest, 'entries' | 'moreEntries' | 'state' | 'isComplete'>> {
    const { isWanted, whoGets } = this.#options;
    const drawn: ResolvedManifest[] = [];
    const areWanted: boolean[] = [];
    let isMissed = false;
    for (const [at, entry] of entries.entries()) {
      const isShown = at < MAX_ENTRIES || whoGets(attestedDigest(entry) ?? entry.digest).length > 0;
      if (!isShown || this.#drawn >= MAX_DRAWN) {
        isMissed ||= isWanted(entry);
        continue;
      }
      drawn.push(await this.draw(entry, depth + 1));
      areWanted.push(isWanted(entry));
    }
    const shownEntries = withAttestations(drawn);
    for (const [at, manifest] of shownEntries.entries()) {
      if (manifest.entries === undefined && areWanted[at] === true) this.#wanted.add(manifest);
    }
    const more = entries.length - drawn.length;
    const states = shownEntries
      .flatMap(leaves)
      .filter((manifest) => this.#wanted.has(manifest))
      .map(({ state }) => state);
    return {
      entries: shownEntries,
      ...(more === 0 ? {} : { moreEntries: more }),
      ...shown(together(isMissed ? [...states, 'missing'] : states)),
    };
  }

  async #part({ digest, mediaType, size }: Descriptor): Promise<ResolvedPart> {
    const isCached = (await this.#options.blobs.stat(digest)) !== undefined;
    return { digest, mediaType, size, isCached };
  }
}

/** Docker 29 cannot pull an image without its attestations, so without them the image is partial. */
function withAttestations(entries: readonly ResolvedManifest[]): ResolvedManifest[] {
  const lacking = new Set(entries.filter(({ isComplete }) => !isComplete).map(({ attests }) => attests));
  return entries.map((entry) => {
    const isLacking = entry.attests === undefined && entry.isComplete && lacking.has(entry.digest);
    return isLacking ? { ...entry, ...shown('partial') } : entry;
  });
}

function together(states: readonly CacheState[]): CacheState {
  if (states.every((state) => state === 'missing')) return 'missing';
  return states.every((state) => state === 'cached') ? 'cached' : 'partial';
}

function shown(state: CacheState): Pick<ResolvedManifest, 'state' | 'isComplete'> {
  return { state, isComplete: state === 'cached' };
}

/** The manifests in an index and in its nested indexes. */
function leaves(manifest: ResolvedManifest): readonly ResolvedManifest[] {
  return manifest.entries === undefined ? [manifest] : manifest.entries.flatMap(leaves);
}
