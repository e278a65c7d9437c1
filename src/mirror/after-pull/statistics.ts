import type { Events, Tell } from '../../events/events.ts';
import { memoOf } from '../../lib/caches.ts';
import { isIndexType } from '../../oci/media-types.ts';
import { isUnknown } from '../../oci/platform-order.ts';
import {
  isKnownArchitecture,
  isKnownSystem,
  normalizePlatform,
  platformName,
  type Platform,
} from '../../oci/platform.ts';
import { repositoryKey } from '../../oci/reference.ts';
import type { ClientPlatforms } from '../manifest/clients.ts';
import type { IndexEntries } from '../manifest/entries.ts';
import type { ServedManifest } from '../manifest/manifests.ts';

export interface PullStatisticsOptions {
  readonly entries: IndexEntries;
  readonly clients: ClientPlatforms;
  readonly tell: Tell<'pull'>;
}

type CountedPull = Events['pull'];

/** Further ones are counted as one: a count of each image and platform is kept for as long as the server runs. */
const MAX_COUNTED = 5000;
const OTHER = 'other';

/**
 * Who pulls what. Few clients say which platform they are; the manifest that one asks for after it was given the list
 * shows it. That feeds counts and expectations, and never decides what a client gets.
 */
export class PullStatistics {
  readonly #options: PullStatisticsOptions;
  readonly #counted = new Set<string>();
  readonly #nameOf = memoOf(usualName);

  constructor(options: PullStatisticsOptions) {
    this.#options = options;
  }

  manifestServed({ request, answer }: ServedManifest): void {
    if ('head' in answer) return;
    const { descriptor } = answer.manifest;
    if (isIndexType(descriptor.mediaType)) return;
    const platform = this.#options.entries.get(descriptor.digest)?.platform;
    // Statements on an image are no images.
    if (platform !== undefined && isUnknown(platform)) return;
    const name = platform === undefined ? 'unknown' : this.#nameOf(platform);
    if (platform !== undefined && name !== OTHER && request.reference.kind === 'digest') {
      this.#options.clients.saw(request.client.address, platform);
    }
    this.#options.tell('pull', this.#countable({ image: repositoryKey(request.repository), platform: name }));
  }

  #countable(pull: CountedPull): CountedPull {
    const key = `${pull.image} ${pull.platform}`;
    if (!this.#counted.has(key) && this.#counted.size >= MAX_COUNTED)
      return { image: OTHER, platform: OTHER };
    this.#counted.add(key);
    return pull;
  }
}

/** Whoever makes an index can write anything into it; what nobody runs is counted as one. */
function usualName(platform: Platform): string {
  const { os, architecture, variant = '' } = normalizePlatform(platform);
  const isUsual = isKnownSystem(os) && isKnownArchitecture(architecture) && /^(v\d(\.\d)?)?$/.test(variant);
  return isUsual ? platformName({ os, architecture, variant }) : OTHER;
}
