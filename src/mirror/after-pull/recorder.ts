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

/** What an address has asked a repository for lately. */
interface Visit {
  readonly digest: Digest;
  readonly tag?: string;
  /** What the tag named; the digest itself unless that was found in a list. */
  readonly root: Digest;
}

const MAX_VISITORS = 10_000;
const MAX_VISITS = 8;
/** A pull is one visit: its requests follow each other. */
const VISIT_TTL_MS = 10 * 60_000;

/**
 * Takes down who pulls what. A pull is a manifest that goes out by GET; HEADs, what is fetched ahead and statements on
 * images are none. Clients ask by digest for what a tag, or a list, told them before, so what an address asked a
 * repository for lately tells which tag its next request belongs to: containerd resolves a tag by HEAD and gets
 * everything by digest.
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
        ? [{ digest, tag: reference.tag, root: answer.list ?? digest }]
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
        root,
        network: this.#options.networkOf(client.address),
        ...(tag === undefined ? {} : { tag }),
        ...(digest === root ? {} : { child: digest }),
        ...(name === '' ? {} : { platform: name }),
      });
    }
  }

  /** What a digest belongs to, by what was asked for before: to all tags that named the same. */
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

  /** What a list says of the manifest; of a list itself, what the client most likely takes out of it. */
  #platformOf({ request, answer }: Pick<ServedManifest, 'request' | 'answer'>): Platform | undefined {
    const { digest, mediaType } = descriptorOf(answer);
    if (isIndexType(mediaType)) return this.#options.clients.expected(request.client);
    return this.#options.entries.get(digest)?.platform;
  }
}

/** Empty: whoever made a list has written anything into it. */
function writtenName(platform: Platform): string {
  const text = formatPlatform(normalizePlatform(platform));
  return parsePlatform(text) === undefined ? '' : text;
}

function isSame(a: Visit, b: Visit | undefined): boolean {
  return b !== undefined && a.digest === b.digest && a.tag === b.tag && a.root === b.root;
}
