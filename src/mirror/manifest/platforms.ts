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

/** Gets a list inside a list. */
export type LoadList = (descriptor: Descriptor) => Promise<Manifest>;

/** Lists inside lists: more of them are for nobody, and each costs a pull. */
const MAX_NESTED_LISTS = 8;
/** Platforms that an error names: an index can have thousands. */
const MAX_NAMED = 40;

/**
 * Picks what a client gets for a tag. A list goes out as it is to everyone who accepts lists; a client that does
 * not, that asked for a platform or whose network is to be given one, gets the entry for its machine.
 */
export class PlatformResolver {
  readonly #clients: ClientPlatforms;

  constructor(clients: ClientPlatforms) {
    this.#clients = clients;
  }

  /** Whether the client takes what the tag names as it is. */
  takes(client: PullClient, mediaType: string): boolean {
    return !(isIndexType(mediaType) && mustResolve(client)) && accepts(client.accept, mediaType);
  }

  /** The entry of `list` for this client. Throws PullError `platform-unknown`, which names what there is. */
  async choose(client: PullClient, list: Manifest, load: LoadList): Promise<IndexEntry> {
    const wanted = this.#clients.of(client).platform;
    const search = new EntrySearch(wanted, load);
    const entry = await search.find(list);
    if (entry !== undefined) {
      this.requireAccepted(client, entry.mediaType, ` for ${formatPlatform(wanted)}`);
      return entry;
    }
    throw new PullError(
      'platform-unknown',
      `no manifest for ${formatPlatform(wanted)}; there is ${named(search.platforms)}`,
    );
  }

  /** Throws PullError `platform-unknown` if the client does not take that type. */
  requireAccepted(client: PullClient, mediaType: string, which = ''): void {
    if (accepts(client.accept, mediaType)) return;
    const hint = client.accept?.split(',').some((type) => isSchema1Type(type.trim()))
      ? '; Docker schema 1, which it does, is no longer served'
      : '';
    throw new PullError(
      'platform-unknown',
      `the manifest${which} is of type ${mediaType}, which the client does not accept${hint}`,
    );
  }
}

/** The entry for a platform in a list and, where an entry is a list itself, in that; undefined if there is none. */
export function entryFor(wanted: Platform, list: Manifest, load: LoadList): Promise<IndexEntry | undefined> {
  return new EntrySearch(wanted, load).find(list);
}

/** Tries the entries that fit one after the other, as moby and containerd do (moby, pullManifestList). */
class EntrySearch {
  /** What the lists that were looked at are for. */
  readonly platforms: Platform[] = [];
  readonly #wanted: Platform;
  readonly #load: LoadList;
  readonly #nested = new Set<Digest>();

  constructor(wanted: Platform, load: LoadList) {
    this.#wanted = wanted;
    this.#load = load;
  }

  async find(list: Manifest, depth = 1): Promise<IndexEntry | undefined> {
    const entries = entriesOf(list).filter((entry) => !isAttestation(entry));
    this.platforms.push(...entries.flatMap(({ platform }) => platform ?? []));
    for (const entry of fittingEntries(this.#wanted, entries)) {
      // What is neither a manifest nor a list is nothing that a client could run.
      if (isImageManifestType(entry.mediaType)) return entry;
      if (!isIndexType(entry.mediaType) || !this.#mayOpen(entry.digest, depth)) continue;
      this.#nested.add(entry.digest);
      const found = await this.find(await this.#load(entry), depth + 1);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #mayOpen(digest: Digest, depth: number): boolean {
    return depth < MAX_INDEX_DEPTH && this.#nested.size < MAX_NESTED_LISTS && !this.#nested.has(digest);
  }
}

function mustResolve({ platform, rule }: PullClient): boolean {
  return platform !== undefined || (rule?.resolve === 'always' && rule.platform !== undefined);
}

function entriesOf(list: Manifest): readonly IndexEntry[] {
  const { content } = parseManifest(list.bytes, list.descriptor.mediaType);
  return content.kind === 'index' ? content.entries : [];
}

function named(platforms: readonly Platform[]): string {
  const known = platforms.filter((platform) => !isUnknown(platform)).map(showPlatform);
  const names = [...new Set(known)];
  if (names.length === 0) return 'none that states its platform';
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : '';
  return `${names.slice(0, MAX_NAMED).join(', ')}${more}`;
}
