import { randomUUID } from 'node:crypto';
import { runningTime } from '../../lib/clock.ts';
import type { FleetLock, Lease } from '../fleet-lock.ts';
import { REDIS_PREFIX, type RedisConnection } from './connection.ts';

const CHANNEL = `${REDIS_PREFIX}released`;
/** The next server takes over after this time if a holder was killed. Clients wait 2 s, so it must be less. */
const LEASE_MS = 1500;
const RENEWAL_MS = LEASE_MS / 3;
const MAX_MESSAGE_LENGTH = 1000;

/** Takes the lock if it is free, or if its expiry is missing or too late: Pierhead never sets such a lock. */
const TAKE = `
  if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
  local left = redis.call('PTTL', KEYS[1])
  if left >= 0 and left <= tonumber(ARGV[2]) then return 0 end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
`;

/** Only the owner may renew or release a lock: after its lease ends, another server can own the lock. */
const RENEW = `
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`;
const RELEASE = `
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
  return redis.call('DEL', KEYS[1])
`;

type Waiter = (message: string | undefined) => void;

/** Locks in Redis: a key with a random token of its owner, which expires unless the owner renews it. */
export function createRedisFleetLock(connection: RedisConnection): FleetLock {
  const waiting = new Map<string, Set<Waiter>>();
  connection.listen(CHANNEL, (text) => {
    const space = text.indexOf(' ');
    const [key, message] = space < 0 ? [text, ''] : [text.slice(0, space), text.slice(space + 1)];
    for (const wake of waiting.get(key) ?? []) wake(message);
  });
  connection.onLost(() => {
    for (const waiters of waiting.values()) for (const wake of waiters) wake(undefined);
  });

  const takeBy = async (call: 'ask' | 'try', name: string): Promise<Lease | 'held' | 'alone'> => {
    const key = lockKey(name);
    const token = randomUUID();
    const taken = await connection[call]((client) =>
      client.eval(TAKE, 1, key, token, LEASE_MS).then((value) => Number(value)),
    );
    if (taken === undefined) return 'alone';
    return taken === 1 ? leaseOf(connection, key, token) : 'held';
  };

  const released = (name: string, waitMs: number): Promise<string | undefined> => {
    const key = lockKey(name);
    const waiters = waiting.get(key) ?? new Set<Waiter>();
    waiting.set(key, waiters);
    return new Promise((resolve) => {
      const wake: Waiter = (message) => {
        timer.stop();
        waiters.delete(wake);
        if (waiters.size === 0 && waiting.get(key) === waiters) waiting.delete(key);
        resolve(message);
      };
      const timer = runningTime.timer(waitMs, () => wake(undefined));
      waiters.add(wake);
    });
  };

  return {
    take: (name) => takeBy('ask', name),
    retake: (name) => takeBy('try', name),
    released,
  };
}

function leaseOf(connection: RedisConnection, key: string, token: string): Lease {
  const renewal = setInterval(() => {
    connection.send((client) => client.eval(RENEW, 1, key, token, LEASE_MS));
  }, RENEWAL_MS).unref();
  const release = async (message: string): Promise<void> => {
    clearInterval(renewal);
    // On a cluster, lock and results can be on different servers: all writes must end before the lock is released.
    await connection.settled();
    const owned = await connection.try((client) => client.eval(RELEASE, 1, key, token).then(Number));
    if (owned !== 1) return;
    const text = `${key} ${message.slice(0, MAX_MESSAGE_LENGTH)}`;
    await connection.try((client) => client.publish(CHANNEL, text));
  };
  return { release: (message) => void release(message) };
}

/** A name has no spaces (OCI distribution-spec, `<name>` and `<reference>`), so a space ends it in a message. */
function lockKey(name: string): string {
  return `${REDIS_PREFIX}lock:${name}`;
}
