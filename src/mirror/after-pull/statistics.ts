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

/** Each image and platform needs a counter for as long as the server runs; further ones count as `other`. */
const MAX_COUNTED = 5000;
const OTHER = 'other';

/**
 * Counts pulls per image and platform. Few clients state their platform; the manifest that they choose from an index
 * shows it. The result serves metrics and prefetch only, and never decides which manifest a client gets.
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
    // Attestations are no images.
    if (platform !== undefined && isUnknown(platform)) return;
    const name = platform === undefined ? 'unknown' : this.#nameOf(platform);
    if (platform !== undefined && name !== OTHER && request.reference.kind === 'digest') {
      this.#options.clients.saw(request.client.address, platform);
    }
    this.#options.tell('pull', this.#countable({ image: repositoryKey(request.repository), platform: name }));
  }

  #countable(pull: Events['pull']): Events['pull'] {
    const key = `${pull.image} ${pull.platform}`;
    if (!this.#counted.has(key) && this.#counted.size >= MAX_COUNTED)
      return { image: OTHER, platform: OTHER };
    this.#counted.add(key);
    return pull;
  }
}

/** `other` for unusual platforms: the author of an index can write any text into it. */
function usualName(platform: Platform): string {
  const { os, architecture, variant = '' } = normalizePlatform(platform);
  const isUsual = isKnownSystem(os) && isKnownArchitecture(architecture) && /^(v\d(\.\d)?)?$/.test(variant);
  return isUsual ? platformName({ os, architecture, variant }) : OTHER;
}
