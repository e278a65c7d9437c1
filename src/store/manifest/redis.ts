import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { digestMatches, type Digest } from '../../oci/digest.ts';
import { parseRepositoryKey, repositoryKey, type Repository } from '../../oci/reference.ts';
import type { Link, ManifestStore, RepositoryRecord, StoredManifest, TagRecord } from '../manifest-store.ts';
import { decodeManifest, decodeTag, encodeManifest, parseObject } from './codec.ts';
import { RedisGuard } from './redis-guard.ts';

const PREFIX = 'pierhead:v1:';
const TAG_CHANNEL = `${PREFIX}tags`;
const EXPIRY_SECONDS = 30 * 24 * 60 * 60;
const COMMAND_TIMEOUT_MS = 40;
const CONNECT_TIMEOUT_MS = 1000;
const MAX_RECONNECT_PAUSE_MS = 2000;
const CONNECTION = {
  connectTimeout: CONNECT_TIMEOUT_MS,
  maxRetriesPerRequest: 1,
  retryStrategy: (attempts: number) => Math.min(100 * attempts, MAX_RECONNECT_PAUSE_MS),
};

/**
 * Keeps the newest record by `checkedAt`, in one step: between a GET and a SET of ours another node could have put a
 * newer one. Gives the record that was there, if the new one replaced it. Values of others are replaced.
 */
const PUT_NEWEST = `
  local ok, known = pcall(redis.call, 'GET', KEYS[1])
  if type(known) == 'string' then
    local parsed, record = pcall(cjson.decode, known)
    if parsed and type(record) == 'table' and type(record.checkedAt) == 'number' and record.checkedAt > tonumber(ARGV[2]) then
      return false
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
export interface RedisStore extends ManifestStore {
  state(): 'up' | 'down';
  /** Calls `listener` when another node has moved a tag. */
  onTagMoved(listener: (move: TagMove) => void): void;
}

export interface RedisStoreOptions {
  /** `redis://` or `rediss://`, with user, password and database if need be. */
  readonly url: string;
  /** Told of every call that failed, by its kind: `timeout`, `refused`, `tampered` …; never of anything secret. */
  readonly onError?: (kind: string) => void;
  /** The longest that a call is waited for; default 40. */
  readonly commandTimeoutMs?: number;
}

/** A Redis that is slow, gone, full or not ours is a miss and a call of `onError`: never an exception, never a wait. */
export function createRedisStore(options: RedisStoreOptions): RedisStore {
  return new SharedStore(options);
}

class SharedStore implements RedisStore {
  readonly #origin = randomUUID();
  readonly #guard = new RedisGuard(Date.now);
  readonly #onError: (kind: string) => void;
  readonly #redis: Redis;
  readonly #subscriber: Redis;
  readonly #listeners: ((move: TagMove) => void)[] = [];

  constructor({ url, onError, commandTimeoutMs }: RedisStoreOptions) {
    this.#onError = onError ?? (() => undefined);
    this.#redis = new Redis(url, {
      ...CONNECTION,
      commandTimeout: commandTimeoutMs ?? COMMAND_TIMEOUT_MS,
      enableOfflineQueue: false,
    });
    this.#subscriber = new Redis(url, { ...CONNECTION, autoResubscribe: true });
    for (const client of [this.#redis, this.#subscriber]) {
      client.on('error', (error: unknown) => this.#onError(kindOf(error)));
    }
    this.#redis.on('ready', () => this.#guard.succeeded());
    this.#subscriber.on('message', (_channel: string, text: string) => this.#heard(text));
    this.#subscriber.subscribe(TAG_CHANNEL).catch((error: unknown) => this.#onError(kindOf(error)));
  }

  state(): 'up' | 'down' {
    return this.#redis.status === 'ready' && !this.#guard.isOpen ? 'up' : 'down';
  }

  onTagMoved(listener: (move: TagMove) => void): void {
    this.#listeners.push(listener);
  }

  async getManifest(digest: Digest): Promise<StoredManifest | undefined> {
    const key = `${PREFIX}manifest:${digest}`;
    const value = await this.#try(() => this.#redis.getBuffer(key));
    if (value === undefined || value === null) return undefined;
    const manifest = decodeManifest(digest, value);
    if (manifest !== undefined && digestMatches(digest, manifest.bytes)) return manifest;
    this.#onError('tampered');
    await this.#try(() => this.#redis.del(key));
    return undefined;
  }

  async putManifest(manifest: StoredManifest): Promise<void> {
    const key = `${PREFIX}manifest:${manifest.digest}`;
    await this.#try(() => this.#redis.set(key, encodeManifest(manifest), 'EX', EXPIRY_SECONDS));
  }

  async getTag(repository: Repository, tag: string): Promise<TagRecord | undefined> {
    return this.#getJson(tagKey(repository, tag), decodeTag);
  }

  async putTag(repository: Repository, tag: string, record: TagRecord): Promise<void> {
    const key = tagKey(repository, tag);
    const text = JSON.stringify(record);
    const replaced = await this.#try(() =>
      this.#redis.eval(PUT_NEWEST, 1, key, text, record.checkedAt, EXPIRY_SECONDS),
    );
    if (typeof replaced !== 'string' || decodeTag(replaced)?.descriptor.digest === record.descriptor.digest)
      return;
    const move = { origin: this.#origin, repository: repositoryKey(repository), tag, record };
    await this.#try(() => this.#redis.publish(TAG_CHANNEL, JSON.stringify(move)));
  }

  async deleteTag(repository: Repository, tag: string): Promise<void> {
    await this.#try(() => this.#redis.del(tagKey(repository, tag)));
  }

  async getLink(repository: Repository, digest: Digest): Promise<Link | undefined> {
    return this.#getJson(linkKey(repository, digest), decodeLink);
  }

  async putLinks(repository: Repository, links: ReadonlyMap<Digest, Link>): Promise<void> {
    await this.#try(async () => {
      const batch = this.#redis.pipeline();
      for (const [digest, link] of links) {
        const key = linkKey(repository, digest);
        // What upstream said must not replace what a manifest says: it is only put where nothing is.
        if (link.by === 'manifest') batch.set(key, JSON.stringify(link), 'EX', EXPIRY_SECONDS);
        else batch.set(key, JSON.stringify(link), 'EX', EXPIRY_SECONDS, 'NX');
      }
      const failed = (await batch.exec())?.find(([error]) => error !== null);
      if (failed?.[0]) throw failed[0];
    });
  }

  async getRepository(repository: Repository): Promise<RepositoryRecord | undefined> {
    return this.#getJson(`${PREFIX}repository:${repositoryKey(repository)}`, decodeRepository);
  }

  async putRepository(repository: Repository, record: RepositoryRecord): Promise<void> {
    const key = `${PREFIX}repository:${repositoryKey(repository)}`;
    await this.#try(() => this.#redis.set(key, JSON.stringify(record), 'EX', EXPIRY_SECONDS));
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
    this.#subscriber.disconnect();
  }

  async #getJson<T>(key: string, decode: (text: string) => T | undefined): Promise<T | undefined> {
    const text = await this.#try(() => this.#redis.get(key));
    if (text === undefined || text === null) return undefined;
    const value = decode(text);
    if (value === undefined) this.#onError('malformed');
    return value;
  }

  async #try<T>(call: () => Promise<T>): Promise<T | undefined> {
    if (this.#guard.isOpen || this.#redis.status !== 'ready') return undefined;
    try {
      const value = await call();
      this.#guard.succeeded();
      return value;
    } catch (error) {
      const kind = kindOf(error);
      this.#onError(kind);
      // An answer, even a refusal, shows that it is alive: only silence is left alone.
      if (kind !== 'refused') this.#guard.failed();
      return undefined;
    }
  }

  #heard(text: string): void {
    const { origin, repository, tag, record } = parseObject(text) ?? {};
    if (origin === this.#origin || typeof repository !== 'string' || typeof tag !== 'string') return;
    const known = decodeTag(JSON.stringify(record ?? null));
    if (known === undefined) return;
    for (const listener of this.#listeners)
      listener({ repository: parseRepositoryKey(repository), tag, record: known });
  }
}

function tagKey(repository: Repository, tag: string): string {
  return `${PREFIX}tag:${repositoryKey(repository)}:${tag}`;
}

function linkKey(repository: Repository, digest: Digest): string {
  return `${PREFIX}link:${repositoryKey(repository)}@${digest}`;
}

function decodeLink(text: string): Link | undefined {
  const { by, size } = parseObject(text) ?? {};
  if (by !== 'manifest' && by !== 'upstream') return undefined;
  return { by, ...(typeof size === 'number' ? { size } : {}) };
}

function decodeRepository(text: string): RepositoryRecord | undefined {
  const value = parseObject(text);
  if (value === undefined) return undefined;
  const { publicAt, restricted } = value;
  return {
    ...(typeof publicAt === 'number' ? { publicAt } : {}),
    ...(restricted === true ? { restricted } : {}),
  };
}

/** What kind of failure it was, without its text, which can hold keys and addresses. */
function kindOf(error: unknown): string {
  if (!(error instanceof Error)) return 'other';
  if (error.message.includes('timed out')) return 'timeout';
  if (error.name === 'ReplyError') return 'refused';
  return 'connection';
}
