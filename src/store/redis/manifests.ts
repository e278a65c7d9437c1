import { randomUUID } from 'node:crypto';
import type { Tell } from '../../events/events.ts';
import { CLOCK_SKEW_MS } from '../../lib/clock.ts';
import { digestMatches, type Digest } from '../../oci/digest.ts';
import {
  MAX_MANIFEST_BYTES,
  ManifestInvalidError,
  parseManifest,
  type Manifest,
} from '../../oci/manifest.ts';
import {
  isRepositoryName,
  isTag,
  parseRepositoryKey,
  repositoryKey,
  type Repository,
} from '../../oci/reference.ts';
import { decodeLink, decodeManifest, decodeTag, encodeManifest, parseObject } from '../codec.ts';
import type { Link, ManifestStore, RepositoryRecord, TagRecord } from '../manifests.ts';
import { Claims, type Claim } from './claims.ts';
import type { RedisClient } from './clients.ts';
import { REDIS_PREFIX, type RedisConnection } from './connection.ts';

const TAG_CHANNEL = `${REDIS_PREFIX}tags`;
const EXPIRY_SECONDS = 30 * 24 * 60 * 60;
/** Like PUBLIC_TTL_MS in mirror/access/access.ts. */
const PUBLIC_SECONDS = 24 * 60 * 60;

/**
 * Stores the newer record (see `replaces`) in one step: between a GET and a SET, another server could store a newer
 * one. Returns the replaced record. Also replaces invalid values and records from the future (ARGV[4]), which would
 * otherwise stay for ever.
 */
const PUT_NEWEST = `
  local ok, known = pcall(redis.call, 'GET', KEYS[1])
  if type(known) == 'string' then
    local parsed, record = pcall(cjson.decode, known)
    if parsed and type(record) == 'table' and type(record.checkedAt) == 'number'
      and type(record.confirmedAt) == 'number' and record.checkedAt <= tonumber(ARGV[4]) then
      local checked, confirmed = tonumber(ARGV[2]), tonumber(ARGV[5])
      if record.confirmedAt > confirmed then return false end
      if record.confirmedAt == confirmed and record.checkedAt > checked then return false end
    end
  else
    known = ''
  end
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
  return known
`;

export interface TagMove {
  readonly repository: Repository;
  readonly tag: string;
  readonly record: TagRecord;
}

/** Whether the repository of a link is public or restricted, for the server that shares the link. */
export type Audience = 'public' | 'restricted';

/**
 * The store of a fleet. Links, offers and repositories decide what clients may see, so they are shared only if signed
 * with the secret. For repositories, only "public" is shared; each server decides itself which are restricted.
 */
export interface SharedStore extends ManifestStore {
  /** A link of one audience is a miss for the other. Default `public`. */
  getLink(repository: Repository, digest: Digest, audience?: Audience): Promise<Link | undefined>;
  putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>, audience?: Audience): Promise<void>;
  /** Calls `listener` when another node has moved a tag. */
  onTagMoved(listener: (move: TagMove) => void): void;
}

/** Commands per turn of the event loop. */
const COMMANDS_AT_ONCE = 200;

export interface RedisStoreOptions {
  /** Stays open after `close` of the store. */
  readonly connection: RedisConnection;
  /** Signs links, offers and repositories (setting `fleetSecret`). Undefined: they are not shared. */
  readonly secret: string | undefined;
  readonly tell: Tell<'redisFailed'>;
  /** Ms since the epoch; default the clock. */
  readonly now?: () => number;
}

/** A slow, unreachable, full or foreign Redis is a miss and an event: never an exception, never a long wait. */
export function createRedisStore(options: RedisStoreOptions): SharedStore {
  return new RedisStore(options);
}

class RedisStore implements SharedStore {
  readonly #origin = randomUUID();
  readonly #redis: RedisConnection;
  readonly #claims: Claims | undefined;
  readonly #tell: Tell<'redisFailed'>;
  readonly #now: () => number;

  constructor({ connection, secret, tell, now }: RedisStoreOptions) {
    this.#redis = connection;
    this.#claims = secret === undefined ? undefined : new Claims(secret);
    this.#tell = tell;
    this.#now = now ?? Date.now;
  }

  onTagMoved(listener: (move: TagMove) => void): void {
    this.#redis.listen(TAG_CHANNEL, (text) => {
      const move = this.#moveOf(text);
      if (move !== undefined) listener(move);
    });
  }

  async getManifest(digest: Digest): Promise<Manifest | undefined> {
    const key = `${REDIS_PREFIX}manifest:${digest}`;
    const value = await this.#redis.ask((client) => client.getBuffer(key));
    if (value === undefined || value === null) return undefined;
    const manifest = decodeManifest(digest, value);
    if (manifest !== undefined && isIntact(manifest)) return manifest;
    this.#tell('redisFailed', { kind: 'tampered' });
    void this.#redis.try((client) => client.del(key));
    return undefined;
  }

  async putManifest(manifest: Manifest): Promise<void> {
    const key = `${REDIS_PREFIX}manifest:${manifest.descriptor.digest}`;
    await this.#redis.try((client) => client.set(key, encodeManifest(manifest), 'EX', EXPIRY_SECONDS));
  }

  async getTag(repository: Repository, tag: string): Promise<TagRecord | undefined> {
    const text = await this.#redis.ask((client) => client.get(tagKey(repository, tag)));
    if (text === undefined || text === null) return undefined;
    const record = this.#presentTag(text);
    if (record === undefined) this.#tell('redisFailed', { kind: 'malformed' });
    return record;
  }

  async putTag(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    const key = tagKey(repository, tag);
    const text = JSON.stringify(record);
    const { checkedAt, confirmedAt } = record;
    const replaced = await this.#redis.try((client) =>
      client
        .eval(PUT_NEWEST, 1, key, text, checkedAt, EXPIRY_SECONDS, this.#now() + CLOCK_SKEW_MS, confirmedAt)
        .then((value) => (typeof value === 'string' ? value : null)),
    );
    if (typeof replaced !== 'string' || decodeTag(replaced)?.descriptor.digest === record.descriptor.digest)
      return;
    const move = { origin: this.#origin, repository: repositoryKey(repository), tag, record };
    await this.#redis.try((client) => client.publish(TAG_CHANNEL, JSON.stringify(move)));
  }

  async deleteTag(repository: Repository, tag: string): Promise<void> {
    await this.#redis.try((client) => client.del(tagKey(repository, tag)));
  }

  async getLink(
    repository: Repository,
    digest: Digest,
    audience: Audience = 'public',
  ): Promise<Link | undefined> {
    const claim = await this.#claimUnder(linkKey(repository, digest, audience), EXPIRY_SECONDS);
    return claim === undefined ? undefined : decodeLink(claim);
  }

  async putLinks(
    repository: Repository,
    links: ReadonlyMap<Digest, Link>,
    audience: Audience = 'public',
  ): Promise<void> {
    const claims = this.#claims;
    if (claims === undefined) return;
    const at = this.#now();
    const each = [...links].map(([digest, link]) => ({ key: linkKey(repository, digest, audience), link }));
    await this.#each(each, (client, { key, link }) => {
      const text = claims.seal(key, { at, by: link.by, size: link.size });
      // NX: a link by `upstream` must not replace one by `manifest`.
      return link.by === 'manifest'
        ? client.set(key, text, 'EX', EXPIRY_SECONDS)
        : client.set(key, text, 'EX', EXPIRY_SECONDS, 'NX');
    });
  }

  async isOffered(repository: Repository, digest: Digest): Promise<boolean> {
    return (await this.#claimUnder(offerKey(repository, digest), EXPIRY_SECONDS)) !== undefined;
  }

  async putOffers(repository: Repository, digests: readonly Digest[]): Promise<void> {
    const claims = this.#claims;
    if (claims === undefined) return;
    const at = this.#now();
    await this.#each(digests, (client, digest) => {
      const key = offerKey(repository, digest);
      return client.set(key, claims.seal(key, { at }), 'EX', EXPIRY_SECONDS);
    });
  }

  async getRepository(repository: Repository): Promise<RepositoryRecord | undefined> {
    const claim = await this.#claimUnder(publicKey(repository), PUBLIC_SECONDS);
    return claim === undefined ? undefined : { publicAt: claim.at };
  }

  async putRepository(repository: Repository, { publicAt }: RepositoryRecord): Promise<void> {
    const claims = this.#claims;
    if (claims === undefined) return;
    const key = publicKey(repository);
    if (publicAt === undefined) {
      await this.#redis.try((client) => client.del(key));
      return;
    }
    if (this.#now() - publicAt >= PUBLIC_SECONDS * 1000) return;
    const text = claims.seal(key, { at: publicAt });
    await this.#redis.try((client) => client.set(key, text, 'EX', PUBLIC_SECONDS));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** One command per key, since a cluster spreads its keys; 200 are sent together. */
  async #each<T>(
    items: readonly T[],
    command: (client: RedisClient, item: T) => Promise<unknown>,
  ): Promise<void> {
    for (let first = 0; first < items.length; first += COMMANDS_AT_ONCE) {
      const some = items.slice(first, first + COMMANDS_AT_ONCE);
      await this.#redis.try((client) => Promise.all(some.map((item) => command(client, item))));
    }
  }

  /** The record of a server with our secret. Any other value is deleted, or it would block links (NX). */
  async #claimUnder(key: string, maxAgeSeconds: number): Promise<Claim | undefined> {
    const claims = this.#claims;
    if (claims === undefined) return undefined;
    const text = await this.#redis.ask((client) => client.get(key));
    if (text === undefined || text === null) return undefined;
    const claim = claims.open(key, text, { nowMs: this.#now(), maxAgeMs: maxAgeSeconds * 1000 });
    if (claim !== undefined) return claim;
    this.#tell('redisFailed', { kind: 'unsigned' });
    void this.#redis.try((client) => client.del(key));
    return undefined;
  }

  /** Undefined if malformed or from the future. */
  #presentTag(text: string): TagRecord | undefined {
    const record = decodeTag(text);
    if (record === undefined || this.#isFuture(Math.max(record.checkedAt, record.confirmedAt)))
      return undefined;
    return record;
  }

  #isFuture(time: number): boolean {
    return !(time <= this.#now() + CLOCK_SKEW_MS);
  }

  /** Undefined if the message is our own, or malformed. */
  #moveOf(text: string): TagMove | undefined {
    const { origin, repository: key, tag, record: value } = parseObject(text) ?? {};
    if (origin === this.#origin) return undefined;
    const repository = typeof key === 'string' ? parseRepositoryKey(key) : undefined;
    const record = this.#presentTag(JSON.stringify(value ?? null));
    const isNamed =
      repository !== undefined && isRepositoryName(repository.name) && typeof tag === 'string' && isTag(tag);
    if (isNamed && record !== undefined) return { repository, tag, record };
    this.#tell('redisFailed', { kind: 'malformed' });
    return undefined;
  }
}

/** Whether the bytes match the digest, and the media type, which the digest does not cover. */
function isIntact({ descriptor: { digest, mediaType }, bytes }: Manifest): boolean {
  if (bytes.length > MAX_MANIFEST_BYTES || !digestMatches(digest, bytes)) return false;
  try {
    return parseManifest(bytes, mediaType).mediaType === mediaType;
  } catch (error) {
    if (error instanceof ManifestInvalidError) return false;
    throw error;
  }
}

function tagKey(repository: Repository, tag: string): string {
  return `${REDIS_PREFIX}tag:${repositoryKey(repository)}:${tag}`;
}

function linkKey(repository: Repository, digest: Digest, audience: Audience): string {
  return `${REDIS_PREFIX}link:${audience}:${repositoryKey(repository)}@${digest}`;
}

function offerKey(repository: Repository, digest: Digest): string {
  return `${REDIS_PREFIX}offer:${repositoryKey(repository)}@${digest}`;
}

function publicKey(repository: Repository): string {
  return `${REDIS_PREFIX}public:${repositoryKey(repository)}`;
}
