import { randomUUID } from 'node:crypto';
import { CLOCK_SKEW_MS } from '../../lib/clock.ts';
import { digestMatches, type Digest } from '../../oci/digest.ts';
import { ManifestInvalidError, parseManifest } from '../../oci/manifest.ts';
import {
  isRepositoryName,
  isTag,
  parseRepositoryKey,
  repositoryKey,
  type Repository,
} from '../../oci/reference.ts';
import type { Link, ManifestStore, RepositoryRecord, StoredManifest, TagRecord } from '../manifest-store.ts';
import { REDIS_PREFIX, type RedisConnection } from '../redis/connection.ts';
import type { RedisFailure } from '../redis/failure.ts';
import {
  decodeLink,
  decodeManifest,
  decodeRepository,
  decodeTag,
  encodeManifest,
  parseObject,
} from './codec.ts';

const TAG_CHANNEL = `${REDIS_PREFIX}tags`;
const EXPIRY_SECONDS = 30 * 24 * 60 * 60;

/**
 * Keeps the record that counts (tag-order.ts) in one step: between a GET and a SET of ours another node could have put
 * a newer one. Gives the record that was there, if the new one replaced it. Values of others are replaced, and records
 * from the future (ARGV[4]), which nothing else would ever replace.
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

/** The store that a fleet shares. */
export interface SharedStore extends ManifestStore {
  /** Calls `listener` when another node has moved a tag. */
  onTagMoved(listener: (move: TagMove) => void): void;
}

export interface RedisStoreOptions {
  /** Stays open when the store is closed. */
  readonly connection: RedisConnection;
  /** Told of data under our keys that is not ours. */
  readonly onFailure?: (failure: RedisFailure) => void;
  /** Ms since the epoch; default the clock. */
  readonly now?: () => number;
}

/** A Redis that is slow, gone, full or not ours is a miss and a call of `onFailure`: never an exception, never a wait. */
export function createRedisStore(options: RedisStoreOptions): SharedStore {
  return new RedisStore(options);
}

class RedisStore implements SharedStore {
  readonly #origin = randomUUID();
  readonly #redis: RedisConnection;
  readonly #onFailure: (failure: RedisFailure) => void;
  readonly #now: () => number;

  constructor({ connection, onFailure, now }: RedisStoreOptions) {
    this.#redis = connection;
    this.#onFailure = onFailure ?? (() => undefined);
    this.#now = now ?? Date.now;
  }

  onTagMoved(listener: (move: TagMove) => void): void {
    this.#redis.listen(TAG_CHANNEL, (text) => {
      const move = this.#moveOf(text);
      if (move !== undefined) listener(move);
    });
  }

  async getManifest(digest: Digest): Promise<StoredManifest | undefined> {
    const key = `${REDIS_PREFIX}manifest:${digest}`;
    const value = await this.#redis.ask((client) => client.getBuffer(key));
    if (value === undefined || value === null) return undefined;
    const manifest = decodeManifest(digest, value);
    if (manifest !== undefined && isIntact(manifest)) return manifest;
    this.#onFailure('tampered');
    void this.#redis.try((client) => client.del(key));
    return undefined;
  }

  async putManifest(manifest: StoredManifest): Promise<void> {
    const key = `${REDIS_PREFIX}manifest:${manifest.digest}`;
    await this.#redis.try((client) => client.set(key, encodeManifest(manifest), 'EX', EXPIRY_SECONDS));
  }

  async getTag(repository: Repository, tag: string): Promise<TagRecord | undefined> {
    return this.#getJson(tagKey(repository, tag), (text) => this.#presentTag(text));
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

  async getLink(repository: Repository, digest: Digest): Promise<Link | undefined> {
    return this.#getJson(linkKey(repository, digest), decodeLink);
  }

  async putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>): Promise<void> {
    // One command per key, as the keys are spread over a cluster; they go out together all the same.
    await this.#redis.try((client) =>
      Promise.all(
        [...links].map(([digest, link]) => {
          const key = linkKey(repository, digest);
          const text = JSON.stringify(link);
          // What upstream said must not replace what a manifest says: it is only put where nothing is.
          return link.by === 'manifest'
            ? client.set(key, text, 'EX', EXPIRY_SECONDS)
            : client.set(key, text, 'EX', EXPIRY_SECONDS, 'NX');
        }),
      ),
    );
  }

  async getRepository(repository: Repository): Promise<RepositoryRecord | undefined> {
    return this.#getJson(`${REDIS_PREFIX}repository:${repositoryKey(repository)}`, (text) => {
      const record = decodeRepository(text);
      return record?.publicAt !== undefined && this.#isFuture(record.publicAt) ? undefined : record;
    });
  }

  async putRepository(repository: Repository, record: RepositoryRecord): Promise<void> {
    const key = `${REDIS_PREFIX}repository:${repositoryKey(repository)}`;
    await this.#redis.try((client) => client.set(key, JSON.stringify(record), 'EX', EXPIRY_SECONDS));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #getJson<T>(key: string, decode: (text: string) => T | undefined): Promise<T | undefined> {
    const text = await this.#redis.ask((client) => client.get(key));
    if (text === undefined || text === null) return undefined;
    const value = decode(text);
    if (value === undefined) this.#onFailure('malformed');
    return value;
  }

  /** Undefined if it is no record, or one from the future. */
  #presentTag(text: string): TagRecord | undefined {
    const record = decodeTag(text);
    if (record === undefined || this.#isFuture(Math.max(record.checkedAt, record.confirmedAt)))
      return undefined;
    return record;
  }

  #isFuture(time: number): boolean {
    return !(time <= this.#now() + CLOCK_SKEW_MS);
  }

  /** Undefined: our own message, or none of a server's. */
  #moveOf(text: string): TagMove | undefined {
    const { origin, repository: key, tag, record: value } = parseObject(text) ?? {};
    if (origin === this.#origin) return undefined;
    const repository = typeof key === 'string' ? parseRepositoryKey(key) : undefined;
    const record = this.#presentTag(JSON.stringify(value ?? null));
    const isNamed =
      repository !== undefined && isRepositoryName(repository.name) && typeof tag === 'string' && isTag(tag);
    if (isNamed && record !== undefined) return { repository, tag, record };
    this.#onFailure('malformed');
    return undefined;
  }
}

/** The bytes are those of the digest, and of the type that they are said to be, which no digest covers. */
function isIntact({ digest, mediaType, bytes }: StoredManifest): boolean {
  if (!digestMatches(digest, bytes)) return false;
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

function linkKey(repository: Repository, digest: Digest): string {
  return `${REDIS_PREFIX}link:${repositoryKey(repository)}@${digest}`;
}
