import { LRUCache } from 'lru-cache';
import { atMost, keptFor, memoOf } from '../../lib/caches.ts';
import type { Digest } from '../../oci/digest.ts';
import { isIndexType } from '../../oci/media-types.ts';
import { isUnknown } from '../../oci/platform-order.ts';
import { formatPlatform, normalizePlatform, parsePlatform, type Platform } from '../../oci/platform.ts';
import { repositoryKey } from '../../oci/reference.ts';
import type { PullHistory } from '../../store/history.ts';
import { descriptorOf } from '../answer/answers.ts';
import type { ClientPlatforms } from '../manifest/clients.ts';
import type { IndexEntries } from '../manifest/entries.ts';
import type { ServedManifest } from '../manifest/manifests.ts';

export interface PullRecorderOptions {
  readonly entries: IndexEntries;
  readonly clients: ClientPlatforms;
  readonly history: PullHistory;
  /** The network that a client's address counts as, in CIDR notation. */
  readonly networkOf: (address: string) => string;
}

/** A recent request of an address to a repository. */
interface Visit {
  readonly digest: Digest;
  readonly tag?: string | undefined;
  /** The digest of the index that contains the manifest; else the digest itself. */
  readonly root: Digest;
}

const MAX_VISITORS = 10_000;
const MAX_VISITS = 8;
/** The requests of one pull follow each other. */
const VISIT_TTL_MS = 10 * 60_000;

/**
 * Records which client pulls which image. A pull is a manifest sent for a GET; HEADs, prefetches and attestations do
 * not count. Clients learn a digest from a tag or an index and then ask by digest: containerd resolves a tag by HEAD,
 * and gets all content by digest. So the last requests of an address show to which tag its next request belongs.
 */
export class PullRecorder {
  readonly #options: PullRecorderOptions;
  /** By address and repository, the latest first. */
  readonly #visits = new LRUCache<string, readonly Visit[]>({
    ...atMost(MAX_VISITORS),
    ...keptFor(VISIT_TTL_MS),
    updateAgeOnGet: true,
  });
  readonly #nameOf = memoOf(writtenName);

  constructor(options: PullRecorderOptions) {
    this.#options = options;
  }

  manifestServed({ request, answer }: ServedManifest): void {
    const { reference, client } = request;
    const { digest, mediaType } = descriptorOf(answer);
    const repository = repositoryKey(request.repository);
    const visitor = `${client.address} ${repository}`;
    const before = this.#visits.get(visitor) ?? [];
    const visits =
      reference.kind === 'tag'
        ? [{ digest, tag: reference.tag, root: answer.index ?? digest }]
        : this.#afterOthers(digest, before);
    if (reference.kind === 'tag' || ('manifest' in answer && isIndexType(mediaType))) {
      this.#remember(visitor, visits, before);
    }
    if ('head' in answer) return;
    const platform = this.#platformOf({ request, answer });
    if (platform !== undefined && isUnknown(platform)) return;
    const name = platform === undefined ? '' : this.#nameOf(platform);
    for (const { root, tag } of visits) {
      this.#options.history.note({
        repository,
        tag,
        root,
        child: digest === root ? undefined : digest,
        platform: name === '' ? undefined : name,
        network: this.#options.networkOf(client.address),
      });
    }
  }

  /** The tags that a digest belongs to, by earlier requests. */
  #afterOthers(digest: Digest, before: readonly Visit[]): Visit[] {
    const { entries } = this.#options;
    const other =
      before.find((visit) => visit.digest === digest) ??
      before.find((visit) => entries.isIn(visit.digest, digest));
    if (other === undefined) return [{ digest, root: digest }];
    const others = before.filter((visit) => visit.digest === other.digest && visit.root === other.root);
    const tagged = others.filter(({ tag }) => tag !== undefined);
    return (tagged.length === 0 ? [other] : tagged).map((visit) => ({ ...visit, digest }));
  }

  #remember(visitor: string, visits: readonly Visit[], before: readonly Visit[]): void {
    const isLatest = visits.every((visit, at) => isSame(visit, before[at]));
    if (isLatest) return;
    const others = before.filter((other) => !visits.some((visit) => isSame(visit, other)));
    this.#visits.set(visitor, [...visits, ...others].slice(0, MAX_VISITS));
  }

  /**
   * The platform from the index of the manifest; for an index, the platform that the client will most likely choose.
   */
  #platformOf({ request, answer }: Pick<ServedManifest, 'request' | 'answer'>): Platform | undefined {
    const { digest, mediaType } = descriptorOf(answer);
    if (isIndexType(mediaType)) return this.#options.clients.expected(request.client);
    return this.#options.entries.get(digest)?.platform;
  }
}

/** Empty if malformed: the author of an index can write any text into it. */
function writtenName(platform: Platform): string {
  const text = formatPlatform(normalizePlatform(platform));
  return parsePlatform(text) === undefined ? '' : text;
}

function isSame(a: Visit, b: Visit | undefined): boolean {
  return b !== undefined && a.digest === b.digest && a.tag === b.tag && a.root === b.root;
}
