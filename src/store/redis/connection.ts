import { AsyncLocalStorage } from 'node:async_hooks';
import type { Tell } from '../../events/events.ts';
import { RunningTime } from '../../lib/clock.ts';
import { type MaybePromise, withinMs } from '../../lib/promises.ts';
import { createRedisClients, type RedisClient } from './clients.ts';
import { failureOf, isSilence, type RedisFailure, RedisGuard } from './health.ts';

/** A timer can fire this much early by the measuring clock; the rest is too short for a call. */
const NONE_BELOW_MS = 1;

/**
 * Limits the time that one request waits for all its Redis calls together. Each call can be within its limit, and their
 * sum can still delay a client that would be served without Redis.
 */
export class RedisAllowance {
  readonly #ms: number;
  readonly #requests = new AsyncLocalStorage<{ leftMs: number }>();

  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Runs the work of one request. Its work in the background delays no client, so that is not limited. */
  during<T>(work: () => MaybePromise<T>): MaybePromise<T> {
    const request = { leftMs: this.#ms };
    const end = (): void => {
      request.leftMs = Infinity;
    };
    let result: MaybePromise<T> | undefined;
    try {
      result = this.#requests.run(request, work);
      return result instanceof Promise ? result.finally(end) : result;
    } finally {
      if (!(result instanceof Promise)) end();
    }
  }

  get leftMs(): number {
    return this.#requests.getStore()?.leftMs ?? Infinity;
  }

  waited(ms: number): void {
    const request = this.#requests.getStore();
    if (request === undefined) return;
    request.leftMs -= ms;
    if (request.leftMs < NONE_BELOW_MS) request.leftMs = 0;
  }
}

/** Prefix of all keys and channels, so that other programs can use the same Redis. */
export const REDIS_PREFIX = 'pierhead:v1:';

const CALL_TIMEOUT_MS = 40;
const CONNECT_TIMEOUT_MS = 5000;
/**
 * On a busy machine, an answer often waits for this process. Calls take milliseconds, so this clock excludes
 * standstills of a few milliseconds: they are no sign of a slow Redis.
 */
const time = new RunningTime({ beatMs: 5 });
const HEARTBEAT_MS = 10_000;
const RECONNECT_PAUSE_MS = 100;
/** The shortest time between two reconnections that look for a new master. */
const LEAVE_EVERY_MS = 5000;

/** `up`: used. `waiting`: connected, but too slow; it is probed in the background. `down`: not connected. */
export type RedisState = 'up' | 'waiting' | 'down';

export interface RedisConnectionOptions {
  /** See lib/redis-address.ts. */
  readonly url: string;
  readonly tell: Tell<'redisFailed'>;
  /** Time limit for a call; default 40. */
  readonly callTimeoutMs?: number;
  /** Time limit for connecting; default 5000. */
  readonly connectTimeoutMs?: number;
}

/**
 * A Redis that can be slow, unreachable, full or used by other programs. A call resolves within its time limit, with
 * undefined if there is no answer. No call rejects, and no call waits for a Redis that did not answer before.
 */
export class RedisConnection {
  readonly #tell: Tell<'redisFailed'>;
  readonly #callTimeoutMs: number;
  readonly #allowance: RedisAllowance;
  readonly #client: RedisClient;
  readonly #subscriber: RedisClient;
  /** Both clients; for a cluster they are one. */
  readonly #clients: ReadonlySet<RedisClient>;
  readonly #guard: RedisGuard;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #running = new Set<Promise<unknown>>();
  readonly #channels = new Map<string, ((message: string) => void)[]>();
  readonly #onLost: (() => void)[] = [];
  /** Whether this connection has ever reached a master. */
  #hadMaster = false;
  #leftAt = -Infinity;
  #isClosed = false;

  constructor(options: RedisConnectionOptions) {
    const { url, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
    this.#tell = options.tell;
    this.#callTimeoutMs = options.callTimeoutMs ?? CALL_TIMEOUT_MS;
    const { commands, subscriber } = createRedisClients({ url, connectTimeoutMs });
    this.#allowance = new RedisAllowance(this.#callTimeoutMs);
    this.#client = commands;
    this.#subscriber = subscriber;
    this.#clients = new Set([commands, subscriber]);
    this.#guard = new RedisGuard({ probe: () => this.#isAlive(), slowMs: this.#callTimeoutMs / 3 });
    for (const client of this.#clients) {
      client.on('error', (error: unknown) => this.#noted(error));
      client.on('end', () => this.#connectAgain(client));
    }
    commands.on('ready', () => {
      this.#guard.reset();
      void this.#learnRole();
    });
    commands.on('close', () => this.#lost());
    subscriber.on('ready', () => this.#subscribe([...this.#channels.keys()]));
    subscriber.on('message', (channel: string, text: string) => this.#heard(channel, text));
    this.#heartbeat = setInterval(() => void this.#beat(), HEARTBEAT_MS).unref();
  }

  get state(): RedisState {
    if (this.#client.status !== 'ready') return 'down';
    return this.#guard.isOpen ? 'waiting' : 'up';
  }

  /** The value of `call`; undefined if it fails or takes too long, which `redisFailed` reports. Never rejects. */
  try<T extends {} | null>(call: (client: RedisClient) => Promise<T>): Promise<T | undefined> {
    return this.#call(call, this.#callTimeoutMs);
  }

  /** Like `try`, for a call that a request waits for: all calls of a request share one time limit. */
  async ask<T extends {} | null>(call: (client: RedisClient) => Promise<T>): Promise<T | undefined> {
    const { leftMs } = this.#allowance;
    if (this.state !== 'up') return undefined;
    if (leftMs <= 0) return this.#failed('slow');
    const startedAt = time.now();
    const value = await this.#call(call, Math.min(leftMs, this.#callTimeoutMs));
    this.#allowance.waited(time.now() - startedAt);
    return value;
  }

  /** Sends a call even if Redis is slow, and does not wait for its result. */
  send(call: (client: RedisClient) => Promise<unknown>): void {
    if (this.#client.status !== 'ready') return;
    const sent = Promise.resolve(this.#client).then(call);
    sent.catch((error: unknown) => this.#noted(error));
  }

  /** Runs the work of one client request. */
  duringRequest<T>(work: () => MaybePromise<T>): MaybePromise<T> {
    return this.#allowance.during(work);
  }

  /** Resolves when all running calls have ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Calls `listener` with each message on the channel, of other servers and of this one. */
  listen(channel: string, listener: (message: string) => void): void {
    const listeners = this.#channels.get(channel);
    if (listeners !== undefined) {
      listeners.push(listener);
      return;
    }
    this.#channels.set(channel, [listener]);
    if (this.#subscriber.status === 'ready') this.#subscribe([channel]);
  }

  /** Calls `listener` when Redis is not used any more: messages can be lost from then on. */
  onLost(listener: () => void): void {
    this.#onLost.push(listener);
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#heartbeat);
    this.#guard.close();
    for (const client of this.#clients) client.disconnect();
  }

  async #call<T extends {} | null>(
    call: (client: RedisClient) => Promise<T>,
    limitMs: number,
  ): Promise<T | undefined> {
    if (this.state !== 'up') return undefined;
    const startedAt = time.now();
    // A call with less than the full time limit is no sign that Redis hangs.
    const lateness = limitMs < this.#callTimeoutMs ? 'slow' : 'timeout';
    // Within a promise, so that a synchronous throw of `call` becomes a rejection.
    const calling = Promise.resolve(this.#client).then(call);
    const answer = withinMs(calling, limitMs, time).then(
      (value) => (value === undefined ? this.#failed(lateness) : value),
      (error: unknown) => this.#failed(failureOf(error)),
    );
    this.#running.add(answer);
    const value = await answer;
    this.#running.delete(answer);
    if (value !== undefined && !this.#guard.answered(time.now() - startedAt)) this.#failed('slow');
    return value;
  }

  #noted(error: unknown): void {
    this.#tell('redisFailed', { kind: failureOf(error) });
  }

  #failed(failure: RedisFailure): undefined {
    this.#tell('redisFailed', { kind: failure });
    if (isSilence(failure)) this.#guard.failed();
    if (failure === 'read-only') this.#leaveReplica();
    if (this.#guard.isOpen) this.#lost();
    return undefined;
  }

  #lost(): void {
    for (const listener of this.#onLost) listener();
  }

  async #learnRole(): Promise<void> {
    const replication = await this.#client.info('replication').catch(() => '');
    if (replication.includes('role:master')) this.#hadMaster = true;
  }

  /** A former master that refuses writes is a replica now. A new connection finds the new master by its name. */
  #leaveReplica(): void {
    const now = performance.now();
    if (!this.#hadMaster || now - this.#leftAt < LEAVE_EVERY_MS) return;
    this.#leftAt = now;
    for (const client of this.#clients) client.disconnect(true);
  }

  /**
   * An ioredis client reconnects by itself, with one exception: it ends if a sentinel announces a new master during a
   * query of another sentinel.
   */
  #connectAgain(client: RedisClient): void {
    setTimeout(() => {
      if (!this.#isClosed) client.connect().catch(() => undefined);
    }, RECONNECT_PAUSE_MS).unref();
  }

  #subscribe(channels: readonly string[]): void {
    if (channels.length === 0) return;
    this.#subscriber.subscribe(...channels).catch((error: unknown) => this.#noted(error));
  }

  #heard(channel: string, text: string): void {
    for (const listener of this.#channels.get(channel) ?? []) listener(text);
  }

  async #isAlive(): Promise<boolean> {
    if (this.#client.status !== 'ready') return false;
    const startedAt = time.now();
    const answer = await withinMs(
      this.#client.ping().catch(() => undefined),
      this.#callTimeoutMs,
      time,
    );
    return answer !== undefined && time.now() - startedAt <= this.#callTimeoutMs / 3;
  }

  /** A subscriber sends nothing, so only a ping shows that the other end of its connection is gone. */
  async #beat(): Promise<void> {
    if (this.#subscriber === this.#client || this.#subscriber.status !== 'ready') return;
    await this.#subscriber.ping().catch(() => undefined);
  }
}
