import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import { isIndexType } from '../oci/media-types.ts';
import { isUnknown } from '../oci/platform-order.ts';
import { formatPlatform, normalizePlatform, parsePlatform, type Platform } from '../oci/platform.ts';
import { repositoryKey } from '../oci/reference.ts';
import type { PullHistory } from '../store/pull-history.ts';
import type { ClientPlatforms } from './client-platforms.ts';
import type { IndexMembers } from './index-members.ts';
import type { ServedManifest } from './served-manifest.ts';

export interface PullRecorderOptions {
  readonly members: IndexMembers;
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
  readonly #visits = new LRUCache<string, readonly Visit[]>({ max: MAX_VISITORS, ttl: VISIT_TTL_MS });

  constructor(options: PullRecorderOptions) {
    this.#options = options;
  }

  manifestServed(served: ServedManifest): void {
    const { request, answer } = served;
    const { reference, headOnly } = request;
    const visit = this.#visitOf(served);
    if (reference.kind === 'tag' || (!headOnly && isIndexType(answer.descriptor.mediaType))) {
      this.#remember(served, visit);
    }
    if (headOnly) return;
    const platform = this.#platformOf(served);
    if (platform !== undefined && isUnknown(platform)) return;
    const { digest, root, tag } = visit;
    const name = platform === undefined ? undefined : formatPlatform(normalizePlatform(platform));
    this.#options.history.note({
      repository: repositoryKey(request.repository),
      root,
      network: this.#options.networkOf(request.client.address),
      ...(tag === undefined ? {} : { tag }),
      ...(digest === root ? {} : { child: digest }),
      // Whoever makes a list can write anything into it.
      ...(name === undefined || parsePlatform(name) === undefined ? {} : { platform: name }),
    });
  }

  #visitOf(served: ServedManifest): Visit {
    const { request, answer } = served;
    const { digest } = answer.descriptor;
    if (request.reference.kind === 'tag') {
      return { digest, tag: request.reference.tag, root: answer.list ?? digest };
    }
    const { members } = this.#options;
    const before = this.#visits.get(visitorOf(served)) ?? [];
    const same = before.find((visit) => visit.digest === digest);
    const { tag, root = digest } = same ?? before.find((visit) => members.isIn(visit.digest, digest)) ?? {};
    return { digest, root, ...(tag === undefined ? {} : { tag }) };
  }

  #remember(served: ServedManifest, visit: Visit): void {
    const visitor = visitorOf(served);
    const before = (this.#visits.get(visitor) ?? []).filter(({ digest }) => digest !== visit.digest);
    this.#visits.set(visitor, [visit, ...before].slice(0, MAX_VISITS));
  }

  /** What a list says of the manifest; of a list itself, what the client most likely takes out of it. */
  #platformOf({ request, answer }: ServedManifest): Platform | undefined {
    const { digest, mediaType } = answer.descriptor;
    if (isIndexType(mediaType)) return this.#options.clients.expected(request.client);
    return this.#options.members.get(digest)?.platform;
  }
}

function visitorOf({ request }: ServedManifest): string {
  return `${request.client.address} ${repositoryKey(request.repository)}`;
}
