import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { attempt, run, type Outcome } from '../support/commands.ts';
import { fetchRaw } from '../support/http.ts';
import { asNobody } from '../support/nobody.ts';
import { makePipe } from '../support/pipe.ts';
import { startPierhead } from '../support/pierhead.ts';
import { start } from '../support/processes.ts';
import { MAIN } from '../support/program.ts';
import { smallDisk } from '../support/small-disk.ts';
import { testFolder } from '../support/temp.ts';

/** On a busy machine a start takes seconds. */
const STARTS_MS = 120_000;
const FREE = { '--listen': '127.0.0.1:0', '--admin-listen': '127.0.0.1:0' };

function serveLine(settings: Readonly<Record<string, string>>): string[] {
  return [MAIN, 'serve', ...Object.entries({ ...FREE, ...settings }).flat()];
}

/** `serve` with these flags and variables, run to its end. */
async function serveFails(
  flags: Readonly<Record<string, string>>,
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const cwd = await testFolder();
  return attempt({ program: process.execPath, args: serveLine(flags), env, cwd });
}

/** One sentence for people, and nothing else. */
function expectSentence({ status, stdout, stderr }: Outcome, ...parts: readonly string[]): void {
  expect(stdout.toString()).toBe('');
  expect(stderr).toMatch(/^pierhead: [^\n{}]+\n$/);
  for (const part of parts) expect(stderr).toContain(part);
  expect(status).toBe(1);
}

/** A port that another program listens on. */
async function takenPort(): Promise<number> {
  const other = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void other.close());
  await once(other, 'listening');
  return (other.address() as AddressInfo).port;
}

describe('a server that cannot have its address', { timeout: STARTS_MS }, () => {
  it('says which port is taken and by which setting, for each address', async () => {
    const port = await takenPort();
    const taken = `127.0.0.1:${port}`;
    const parts = [`port ${port} is in use`, 'stop the other program or set another port'];
    expectSentence(await serveFails({ '--listen': taken }), ...parts, '(--listen)');
    expectSentence(await serveFails({ '--admin-listen': taken }), ...parts, '(--admin-listen)');
    const folder = await testFolder();
    const config = join(folder, 'pierhead.yaml');
    await writeFile(config, `tagTtl: 1m\nauthListen: ${taken}\ntokensFile: tokens\n`);
    await writeFile(join(folder, 'tokens'), '');
    const args = serveLine({ '--config': config });
    const fromFile = await attempt({ program: process.execPath, args, cwd: folder });
    expectSentence(fromFile, ...parts, `(${config}:2)`);
  });

  it('names the variable where nothing else sets the address', async () => {
    const port = await takenPort();
    const args = [MAIN, 'serve', '--admin-listen', 'off'];
    const env = { PIERHEAD_LISTEN: `127.0.0.1:${port}` };
    const cwd = await testFolder();
    expectSentence(await attempt({ program: process.execPath, args, env, cwd }), '(PIERHEAD_LISTEN)');
  });

  it('says that an address is of another machine', async () => {
    const other = await serveFails({ '--listen': '192.0.2.1:5000' });
    expectSentence(other, '192.0.2.1 is not an address of this machine', '(--listen)');
  });
});

describe('a server that cannot have its data directory', { timeout: STARTS_MS }, () => {
  it('says so where the file system is read-only or has no room for a file', async () => {
    const disk = await smallDisk(1024 * 1024, { index: 'inside' });
    await disk.remount('ro');
    const dataDir = join(disk.dataDir, 'data');
    for (const each of [disk.dataDir, dataDir]) {
      const refused = await serveFails({ '--data-dir': each });
      expectSentence(refused, `${each} is on a read-only file system`, '--data-dir');
    }
    await disk.remount('rw');
    await run({ program: 'mount', args: ['-o', 'remount,nr_inodes=1', disk.dataDir] });
    expectSentence(await serveFails({ '--data-dir': dataDir }), `no room for`, dataDir, '--data-dir');
  });

  it('says so where it has no permission', async () => {
    const folder = await testFolder();
    await chmod(folder, 0o755);
    const dataDir = join(folder, 'data');
    await mkdir(dataDir, 0o755);
    for (const each of [dataDir, join(folder, 'none'), join(folder, 'none', 'at', 'all')]) {
      const refused = await asNobody(process.execPath, serveLine({ '--data-dir': each }));
      expectSentence(refused, `no permission to use the data directory ${each}`, '--data-dir');
    }
  });

  it('says so where a file is in its place, or its file system never takes a folder', async () => {
    const file = join(await testFolder(), 'file');
    await writeFile(file, '');
    const sentences = { [file]: 'a file is in its place', '/proc/pierhead': 'cannot be made there' };
    for (const [dataDir, sentence] of Object.entries(sentences)) {
      expectSentence(await serveFails({ '--data-dir': dataDir }), sentence, dataDir, '--data-dir');
    }
  });
});

describe('a signal', { timeout: STARTS_MS }, () => {
  /** A server whose disk does not answer: it hangs when it makes its data directory. */
  async function hangingServer(hang: string) {
    const folder = await testFolder();
    const fifo = join(folder, 'fifo');
    makePipe(fifo);
    const preload = join(folder, 'preload.mjs');
    await writeFile(
      preload,
      `import fs from 'node:fs';
       import { syncBuiltinESMExports } from 'node:module';
       fs.promises.mkdir = () => { process.stdout.write('hangs\\n'); return ${hang}; };
       syncBuiltinESMExports();`,
    );
    const server = await start({
      program: process.execPath,
      args: ['--import', pathToFileURL(preload).href, ...serveLine({ '--data-dir': join(folder, 'data') })],
      env: { FIFO: fifo },
      cwd: folder,
    });
    onTestFinished(() => server.kill());
    await server.waitForOutput(
      () => (server.stdout.includes('hangs') ? true : undefined),
      'start that hangs',
    );
    return server;
  }

  it('ends a server that hangs while it starts', async () => {
    const server = await hangingServer('new Promise(() => setInterval(() => undefined, 1000))');
    expect(await server.stop()).toBe(0);
    expect(server.stdout).toContain('stopped while starting');
  });

  it('ends one with a thread that hangs in the file system, too', async () => {
    const server = await hangingServer('fs.promises.open(process.env.FIFO)');
    // As one that SIGTERM has ended: a thread that hangs lets no process exit.
    expect(await server.stop()).toBe(128 + 15);
    expect(server.stdout).toContain('stopped while starting');
  });

  it.each(['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE'] as const)(
    '%s neither ends a server nor opens a debugger',
    async (signal) => {
      const server = await startPierhead({ upstreamUrl: 'http://127.0.0.1:9' });
      onTestFinished(() => server.close());
      process.kill(server.pid, signal);
      // Node keeps SIGPIPE from every program.
      if (signal !== 'SIGPIPE') {
        const line = await server.waitForLog((each) => each['signal'] === signal, 'line about the signal');
        expect(line['msg']).toBe(
          signal === 'SIGHUP' ? 'settings not reloaded: restart to apply them' : 'signal ignored',
        );
      }
      expect((await fetchRaw(`${server.url}/healthz`)).status).toBe(200);
      expect(await server.stop()).toBe(0);
      expect(server.output).not.toContain('Debugger');
    },
  );
});

describe('an older Node', () => {
  const packageJson = new URL('../../package.json', import.meta.url);

  /** The program under a Node that says it is of this version. */
  async function under(version: string, ...args: readonly string[]): Promise<Outcome> {
    const folder = await testFolder();
    const preload = join(folder, 'preload.cjs');
    await writeFile(preload, `Object.defineProperty(process.versions, 'node', { value: '${version}' });`);
    return attempt({ program: process.execPath, args: ['--require', preload, MAIN, ...args], cwd: folder });
  }

  it.each(['12.22.12', '18.20.8', '20.18.3'])('%s is told what is needed, and exits 2', async (version) => {
    const { engines } = JSON.parse(await readFile(packageJson, 'utf8')) as { engines: { node: string } };
    const oldest = engines.node.replace('>=', '');
    for (const args of [['serve'], ['--help'], []]) {
      expect(await under(version, ...args)).toMatchObject({
        status: 2,
        stderr: `pierhead: Node ${version} is too old; install Node ${oldest} or newer\n`,
      });
    }
  });

  it.each(['20.19.0', '22.0.0', '100.1.0'])('is not %s', async (version) => {
    expect((await under(version, '--version')).status).toBe(0);
  });

  it('reads the file that it starts: nothing is imported there before the version is looked at', async () => {
    const code = await readFile(MAIN, 'utf8');
    expect(code).not.toMatch(/^\s*import\s[^(]/m);
    // Words that came after Node 12.
    expect(code).not.toMatch(/\?\?|\?\.\w/);
  });
});
