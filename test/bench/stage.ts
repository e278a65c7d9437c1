import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { startFakeHub, type FakeHub, type FakeHubOptions } from '../fake/hub.ts';
import { inBenchFolder } from './bench-folder.ts';
import { pierhead } from './contestants.ts';
import { MemoryWatch } from './process-probe.ts';
import { freePort, type ServerProcess } from './server-process.ts';

/** Pierhead as a user runs it, on an empty data directory, in front of the scripted stand-in for Docker Hub. */
export interface Stage {
  readonly hub: FakeHub;
  readonly server: ServerProcess;
  readonly adminUrl: string;
  readonly dataDir: string;
  readonly memory: MemoryWatch;
}

export interface StageOptions {
  /** The checkout, which holds `dist/main.js`. */
  readonly root: string;
  /** The Node binary that runs Pierhead. */
  readonly node: string;
  readonly hub?: FakeHubOptions;
  /** Of Pierhead, by the names of their flags. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** What this machine lacks for a stage; undefined: nothing. */
export function missingForStage(): string | undefined {
  return existsSync('/proc/self/fd')
    ? undefined
    : 'missing: /proc, which tells what processes hold; Linux has it';
}

/** Starts both, lets `play` have them, and ends what still runs of them. */
export async function onStage<T>(options: StageOptions, play: (stage: Stage) => Promise<T>): Promise<T> {
  return inBenchFolder(async (folder) => {
    const hub = await startFakeHub(options.hub);
    try {
      const { root, node } = options;
      const admin = `127.0.0.1:${await freePort()}`;
      const settings = { 'admin-listen': admin, 'log-format': 'json', ...options.settings };
      const server = await pierhead({ root, node, settings }).start({ upstreamUrl: hub.url, folder });
      const memory = new MemoryWatch(server.pid);
      try {
        return await play({
          hub,
          server,
          memory,
          adminUrl: `http://${admin}`,
          dataDir: join(folder, 'data'),
        });
      } finally {
        memory.stop();
        await server.stop();
      }
    } finally {
      await hub.close();
    }
  });
}
