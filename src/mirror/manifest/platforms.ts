import type { Digest } from '../../oci/digest.ts';
import {
  isAttestation,
  MAX_INDEX_DEPTH,
  parseManifest,
  type Descriptor,
  type IndexEntry,
  type Manifest,
} from '../../oci/manifest.ts';
import { accepts, isImageManifestType, isIndexType, isSchema1Type } from '../../oci/media-types.ts';
import { fittingEntries, isUnknown } from '../../oci/platform-order.ts';
import { formatPlatform, showPlatform, type Platform } from '../../oci/platform.ts';
import type { PullClient } from '../answer/answers.ts';
import { PullError } from '../answer/errors.ts';
import type { ClientPlatforms } from './clients.ts';

/** Loads an index inside an index. */
export type LoadIndex = (descriptor: Descriptor) => Promise<Manifest>;

/** Indexes inside an index: each costs a pull, and no image needs more. */
const MAX_NESTED_INDEXES = 8;
/** Platforms in an error message: an index can have thousands. */
const MAX_NAMED = 40;

/**
 * Picks the manifest that a client gets for a tag. Clients that accept an index get the index. Other clients, and those
 * with a requested or configured platform, get the entry for their platform.
 */
export class PlatformResolver {
  readonly #clients: ClientPlatforms;

  constructor(clients: ClientPlatforms) {
    this.#clients = clients;
  }

  /** Whether the client gets the tag's manifest or index unchanged. */
  takes(client: PullClient, mediaType: string): boolean {
    return !(isIndexType(mediaType) && mustResolve(client)) && accepts(client.accept, mediaType);
  }

  /**
   * The entry of `index` for this client. Throws PullError `platform-unknown`, which names the platforms of the index.
   */
  async choose(client: PullClient, index: Manifest, load: LoadIndex): Promise<IndexEntry> {
    const wanted = this.#clients.of(client).platform;
    const search = new EntrySearch(wanted, load);
    const entry = await search.find(index);
    if (entry !== undefined) {
      this.requireAccepted(client, entry.mediaType, ` for ${formatPlatform(wanted)}`);
      return entry;
    }
    throw new PullError(
      'platform-unknown',
      `no manifest for ${formatPlatform(wanted)}; there is ${named(search.platforms)}`,
    );
  }

  /** Throws PullError `platform-unknown` if the client does not accept the type. */
  requireAccepted(client: PullClient, mediaType: string, which = ''): void {
    if (accepts(client.accept, mediaType)) return;
    const hint = client.accept?.split(',').some((type) => isSchema1Type(type.trim()))
      ? '; it accepts Docker schema 1, which is not served'
      : '';
    throw new PullError(
      'platform-unknown',
      `the manifest${which} is of type ${mediaType}, which the client does not accept${hint}`,
    );
  }
}

/** The entry for a platform in an index, nested ones included; undefined if there is none. */
export function entryFor(
  wanted: Platform,
  index: Manifest,
  load: LoadIndex,
): Promise<IndexEntry | undefined> {
  return new EntrySearch(wanted, load).find(index);
}

/** Tries the fitting entries in order, as moby and containerd do (moby, pullManifestList). */
class EntrySearch {
  /** The platforms of all indexes that were read. */
  readonly platforms: Platform[] = [];
  readonly #wanted: Platform;
  readonly #load: LoadIndex;
  readonly #nested = new Set<Digest>();

  constructor(wanted: Platform, load: LoadIndex) {
    this.#wanted = wanted;
    this.#load = load;
  }

  async find(index: Manifest, depth = 1): Promise<IndexEntry | undefined> {
    const entries = entriesOf(index).filter((entry) => !isAttestation(entry));
    this.platforms.push(...entries.flatMap(({ platform }) => platform ?? []));
    for (const entry of fittingEntries(this.#wanted, entries)) {
      // Clients cannot run any other type.
      if (isImageManifestType(entry.mediaType)) return entry;
      if (!isIndexType(entry.mediaType) || !this.#mayOpen(entry.digest, depth)) continue;
      this.#nested.add(entry.digest);
      const found = await this.find(await this.#load(entry), depth + 1);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #mayOpen(digest: Digest, depth: number): boolean {
    return depth < MAX_INDEX_DEPTH && this.#nested.size < MAX_NESTED_INDEXES && !this.#nested.has(digest);
  }
}

function mustResolve({ platform, rule }: PullClient): boolean {
  return platform !== undefined || (rule?.resolve === 'always' && rule.platform !== undefined);
}

function entriesOf(index: Manifest): readonly IndexEntry[] {
  const { content } = parseManifest(index.bytes, index.descriptor.mediaType);
  return content.kind === 'index' ? content.entries : [];
}

function named(platforms: readonly Platform[]): string {
  const known = platforms.filter((platform) => !isUnknown(platform)).map(showPlatform);
  const names = [...new Set(known)];
  if (names.length === 0) return 'none that states its platform';
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : '';
  return `${names.slice(0, MAX_NAMED).join(', ')}${more}`;
}
