import { accepts } from '../oci/accept.ts';
import { parseManifest, type Descriptor, type IndexEntry } from '../oci/manifest.ts';
import { isIndexType } from '../oci/media-types.ts';
import { bestMatch, formatPlatform, type Platform } from '../oci/platform.ts';
import { platformOfUserAgent } from '../oci/user-agent.ts';
import type { StoredManifest } from '../store/manifest-store.ts';
import { PullError } from './pull-error.ts';

/** What a client says of the manifests that it can take. */
export interface ClientTaste {
  /** All its Accept lines, joined by commas. */
  readonly accept: string | undefined;
  readonly userAgent: string | undefined;
  /** From `?platform=`: always resolve. */
  readonly platform: Platform | undefined;
}

/** Deeper lists of lists are taken for a loop. */
const MAX_DEPTH = 4;

/**
 * Picks what a client gets for a tag. A list goes out as it is to everyone who accepts lists; a client that does
 * not (or that asked for a platform) gets the entry for its machine.
 */
export class PlatformResolver {
  readonly #defaultPlatform: Platform;

  constructor(defaultPlatform: Platform) {
    this.#defaultPlatform = defaultPlatform;
  }

  /** Whether the client takes what the tag names as it is. */
  takes(client: ClientTaste, mediaType: string): boolean {
    return !mustResolve(client, mediaType) && accepts(client.accept, mediaType);
  }

  /**
   * The entry of `list` for this client, which may be found in a list inside the list: `load` gets those.
   * Throws PullError `platform-unknown`, which names what there is.
   */
  async choose(
    client: ClientTaste,
    list: StoredManifest,
    load: (descriptor: Descriptor) => Promise<StoredManifest>,
  ): Promise<Descriptor> {
    const wanted = client.platform ?? platformOfUserAgent(client.userAgent) ?? this.#defaultPlatform;
    let entries = entriesOf(list);
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      const match = bestMatch(wanted, entries);
      if (match === undefined) break;
      if (!isIndexType(match.mediaType)) {
        if (accepts(client.accept, match.mediaType)) return match;
        throw new PullError(
          'platform-unknown',
          `the manifest for ${formatPlatform(wanted)} is of type ${match.mediaType}, which the client does not accept`,
        );
      }
      entries = entriesOf(await load(match));
    }
    const known = entriesOf(list).flatMap(({ platform }) =>
      platform === undefined ? [] : [formatPlatform(platform)],
    );
    throw new PullError(
      'platform-unknown',
      `no manifest for ${formatPlatform(wanted)}; there is ${known.join(', ') || 'none'}`,
    );
  }

  /** The error for a tag that is no list and of a type that the client does not accept. */
  refuse(mediaType: string): PullError {
    return new PullError(
      'platform-unknown',
      `the manifest is of type ${mediaType}, which the client does not accept`,
    );
  }
}

function mustResolve(client: ClientTaste, mediaType: string): boolean {
  return client.platform !== undefined && isIndexType(mediaType);
}

function entriesOf(list: StoredManifest): readonly IndexEntry[] {
  const { content } = parseManifest(list.bytes, list.mediaType);
  return content.kind === 'index' ? content.entries : [];
}
