import { once } from 'node:events';
import { join } from 'node:path';
import { Cluster, Redis } from 'ioredis';
import { writeFile } from 'node:fs/promises';
import { onTestFinished } from 'vitest';
import { freePort } from './free-port.ts';
import { launch } from './launch.ts';
import { testFolder } from './temp.ts';
import { eventually } from './wait.ts';

export interface TestRedis {
  readonly url: string;
  readonly port: number;
  readonly client: Redis;
  /** It is stopped as by a debugger: connections stay, and nothing is answered. */
  pause(): void;
  resume(): void;
  /** Kills it; connecting is refused from then on. */
  stop(): Promise<void>;
  /** Starts it again, empty, at the same address. */
  restart(): Promise<void>;
}

/** A real redis-server on loopback that keeps nothing on disk, until the running test ends. `args` as on its command line. */
export async function startRedis(args: readonly string[] = []): Promise<TestRedis> {
  const port = await freePort();
  const folder = await testFolder();
  const own = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'no',
  ];
  let child = launch({ program: 'redis-server', args: [...own, ...args] });
  let exited = once(child, 'exit');
  const client = new Redis({
    port,
    host: '127.0.0.1',
    retryStrategy: () => 20,
    maxRetriesPerRequest: null,
    ...passwordIn(args),
  });
  client.on('error', () => undefined);
  const answers = (): Promise<unknown> =>
    eventually(async () => (await client.ping().catch(() => '')) === 'PONG', 'redis-server to answer');
  const stop = async (): Promise<void> => {
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(async () => {
    client.disconnect();
    await stop();
  });
  await answers();
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    client,
    pause: () => child.kill('SIGSTOP'),
    resume: () => child.kill('SIGCONT'),
    stop,
    restart: async () => {
      child = launch({ program: 'redis-server', args: [...own, ...args] });
      exited = once(child, 'exit');
      await answers();
    },
  };
}

function passwordIn(args: readonly string[]): { password?: string } {
  const at = args.indexOf('--requirepass');
  const password = at < 0 ? undefined : args[at + 1];
  return password === undefined ? {} : { password };
}

export interface TestSentinels {
  /** `redis+sentinel://…` */
  readonly url: string;
  readonly master: TestRedis;
  readonly replica: TestRedis;
}

/** A master, a replica and three sentinels that put the replica in the master's place within some seconds. */
export async function startSentinels(): Promise<TestSentinels> {
  const master = await startRedis();
  const replica = await startRedis(['--replicaof', '127.0.0.1', String(master.port)]);
  await eventually(async () => {
    const info = await replica.client.info('replication');
    return info.includes('master_link_status:up');
  }, 'the replica to follow');
  const ports = await Promise.all([1, 2, 3].map(() => startSentinel(master.port)));
  const sentinels = ports.map((port) => new Redis({ port, host: '127.0.0.1' }));
  for (const sentinel of sentinels) {
    sentinel.on('error', () => undefined);
    onTestFinished(() => sentinel.disconnect());
    // One that a busy machine has kept from running for 2 s elects nobody for the next 30 s. Redis 6 cannot be told.
    await sentinel.call('SENTINEL', 'DEBUG', 'TILT-TRIGGER', '60000').catch(() => undefined);
  }
  await eventually(async () => {
    const reply = await sentinels[0]?.call('SENTINEL', 'CKQUORUM', 'test').catch(() => '');
    const replicas = await sentinels[0]?.call('SENTINEL', 'REPLICAS', 'test').catch(() => []);
    return String(reply).startsWith('OK 3') && Array.isArray(replicas) && replicas.length === 1;
  }, 'the sentinels to know each other and the replica');
  const hosts = ports.map((port) => `127.0.0.1:${port}`).join(',');
  return { url: `redis+sentinel://${hosts}/test/0`, master, replica };
}

async function startSentinel(masterPort: number): Promise<number> {
  const port = await freePort();
  const config = join(await testFolder(), 'sentinel.conf');
  await writeFile(
    config,
    `port ${port}
bind 127.0.0.1
sentinel monitor test 127.0.0.1 ${masterPort} 2
sentinel down-after-milliseconds test 1000
sentinel failover-timeout test 3000
`,
  );
  const child = launch({ program: 'redis-server', args: [config, '--sentinel'] });
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return port;
}

export interface TestCluster {
  /** `redis+cluster://…` */
  readonly url: string;
  readonly nodes: readonly TestRedis[];
  readonly client: Cluster;
}

/** Three masters that share the slots and serve theirs while another is away. */
export async function startCluster(): Promise<TestCluster> {
  const args = [
    '--cluster-enabled',
    'yes',
    '--cluster-require-full-coverage',
    'no',
    '--cluster-node-timeout',
    '2000',
  ];
  // The port of the bus is 10000 higher unless it is told.
  const nodes = await Promise.all(
    [1, 2, 3].map(async () => startRedis([...args, '--cluster-port', String(await freePort())])),
  );
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`);
  const meeting = launch({
    program: 'redis-cli',
    args: ['--cluster', 'create', ...addresses, '--cluster-replicas', '0', '--cluster-yes'],
  });
  await once(meeting, 'exit');
  for (const { client } of nodes) {
    await eventually(
      async () => String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'),
      'the cluster to be whole',
    );
  }
  const client = new Cluster(nodes.map(({ port }) => ({ host: '127.0.0.1', port })));
  client.on('error', () => undefined);
  onTestFinished(() => client.disconnect());
  return { url: `redis+cluster://${addresses.join(',')}`, nodes, client };
}
