import { chmod, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { CredentialHelper } from '../../../src/upstream/auth/credential-helper.ts';
import { DockerConfig } from '../../../src/upstream/auth/docker-config.ts';
import { UpstreamFailure } from '../../../src/upstream/upstream.ts';
import { attempt } from '../../support/commands.ts';
import { testFolder } from '../../support/temp.ts';
import { eventually } from '../../support/wait.ts';
import { causeOf, CONFIGURED, hubAndUpstream, valueOf } from '../../support/upstream-client.ts';

const LATEST = { kind: 'tag', tag: 'latest' } as const;
const PRIVATE = 'carol/private';
const CAROLS = '{"ServerURL":"x","Username":"carol","Secret":"secret"}';

interface Helper {
  /** The answer from now on. */
  answer(text: string): Promise<void>;
  /** What it was given on standard input, a line for each time. */
  asked(): Promise<string[]>;
}

/** The program `docker-credential-test`, found as any other: a script that notes its input and prints its answer. */
async function helperProgram(script?: string): Promise<Helper> {
  const folder = await testFolder();
  const program = join(folder, 'docker-credential-test');
  const [answer, asked] = [join(folder, 'answer'), join(folder, 'asked')];
  const body = script ?? `cat >> ${asked}; echo >> ${asked}; cat ${answer}`;
  await writeFile(program, `#!/bin/sh\n[ "$1" = get ] || exit 9\n${body}\n`);
  await chmod(program, 0o755);
  await Promise.all([writeFile(answer, CAROLS), writeFile(asked, '')]);
  vi.stubEnv('PATH', `${folder}${delimiter}${process.env['PATH'] ?? ''}`);
  onTestFinished(() => void vi.unstubAllEnvs());
  return {
    answer: (text) => writeFile(answer, text),
    asked: async () => (await readFile(asked, 'utf8')).split('\n').slice(0, -1),
  };
}

function helper(clock = { ms: 1_700_000_000_000 }) {
  return new CredentialHelper({ helper: 'test', server: 'registry.example', now: () => clock.ms });
}

/** Whether a process runs; one that has ended and that nobody has asked for yet does not. */
async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z');
  return !/\) [ZX]/.test(status);
}

/** Why there is no login. */
async function failure(source: { get(): Promise<unknown> }): Promise<string> {
  try {
    await source.get();
  } catch (error) {
    if (error instanceof UpstreamFailure) return error.message;
    throw error;
  }
  throw new Error('there is a login');
}

describe('a credential helper', () => {
  test('is asked for the registry, and what it says opens what is private', async () => {
    const program = await helperProgram();
    const { hub, upstream } = await hubAndUpstream({}, { credentials: { source: helper() } });
    valueOf(await upstream.getManifest(PRIVATE, LATEST, CONFIGURED));
    expect(hub.requests.at(-1)?.identity).toBe('carol');
    expect(await program.asked()).toEqual(['registry.example']);
  });

  test('is asked once in five minutes, however many wait', async () => {
    const program = await helperProgram();
    const clock = { ms: 0 };
    const source = helper(clock);
    await Promise.all([source.get(), source.get(), source.get()]);
    clock.ms += 299_999;
    await source.get();
    expect(await program.asked()).toHaveLength(1);
    clock.ms += 1;
    await source.get();
    expect(await program.asked()).toHaveLength(2);
  });

  test.each(['bearer', 'basic'] as const)(
    'is asked anew when a registry with %s rejects what it said',
    async (auth) => {
      const program = await helperProgram();
      const clock = { ms: Date.now() };
      const { hub, upstream } = await hubAndUpstream({ auth }, { credentials: { source: helper(clock) } });
      valueOf(await upstream.headManifest(PRIVATE, LATEST, CONFIGURED));
      hub.setUsers({ carol: 'rotated' });
      hub.expireTokens();
      await program.answer(CAROLS.replace('secret', 'rotated'));
      clock.ms += 60_000;
      valueOf(await upstream.headManifest(PRIVATE, LATEST, CONFIGURED));
      expect(await program.asked()).toHaveLength(2);
    },
  );

  test('whose answer is rejected at once is not asked again for it', async () => {
    const program = await helperProgram();
    await program.answer(CAROLS.replace('secret', 'wrong-secret'));
    const { upstream } = await hubAndUpstream({}, { credentials: { source: helper() } });
    const reason = causeOf(await upstream.headManifest(PRIVATE, LATEST, CONFIGURED));
    expect(reason).toMatch(/^credentials: the token service at .* rejects the configured credentials$/);
    expect(await program.asked()).toHaveLength(1);
  });

  test.each([
    ['echo credentials not found in native keychain; exit 1', 'holds no credentials for registry.example'],
    ['echo very-secret; exit 3', 'ended with exit code 3'],
    ['echo very-secret', 'printed no user name and secret'],
    [`echo '{"Username":"a:b","Secret":"very-secret"}'`, 'printed no user name and secret'],
    ['exec cat /dev/zero', 'printed more than 64 KiB'],
    ['kill -9 $$', 'ended with exit code -1'],
  ])('that does %j says no more than why', async (script, why) => {
    await helperProgram(script);
    expect(await failure(helper())).toBe(`docker-credential-test ${why}`);
  });

  test('that takes too long is ended, with all that it has started', async () => {
    const folder = await testFolder();
    const pids = join(folder, 'pids');
    await helperProgram(`sleep 600 & echo $! > ${pids}; wait`);
    const source = new CredentialHelper({ helper: 'test', server: 'x', now: () => 0, answerWithinMs: 5000 });
    expect(await failure(source)).toBe('docker-credential-test did not answer within 5 s');
    const pid = Number(await readFile(pids, 'utf8'));
    await eventually(async () => !(await isAlive(pid)), 'what the helper started to be gone');
  });

  test('does not see the secrets of this server', async () => {
    vi.stubEnv('PIERHEAD_ADMIN_TOKEN', 'very-secret');
    await helperProgram(`[ -z "$PIERHEAD_ADMIN_TOKEN" ] || exit 7; echo '${CAROLS}'`);
    expect((await helper().get()).kind).toBe('password');
  });

  test('that is not there is named', async () => {
    const source = new CredentialHelper({ helper: 'none-such', server: 'x', now: () => 0 });
    expect(await failure(source)).toBe('docker-credential-none-such cannot be run (ENOENT)');
  });

  test('that cannot be run because no more files can be opened ends nothing but its request', async () => {
    await helperProgram();
    const source = new URL('../../../dist/upstream/auth/credential-helper.js', import.meta.url).href;
    // In a process of its own, which may open few files and opens them all.
    const script = `
      import { openSync } from 'node:fs';
      const { CredentialHelper } = await import(${JSON.stringify(source)});
      const helper = new CredentialHelper({ helper: 'test', server: 'x', now: () => 0 });
      try { for (;;) openSync('/dev/null', 'r'); } catch {}
      await helper.get().catch(({ message }) => console.log(message));`;
    const limited = `ulimit -n 64; exec ${process.execPath} --input-type=module -e "$0"`;
    const { status, stdout } = await attempt({ program: 'sh', args: ['-c', limited, script] });
    expect([status, stdout.toString()]).toEqual([0, 'docker-credential-test cannot be run (EMFILE)\n']);
  });

  test('that failed is asked again by the next request', async () => {
    const program = await helperProgram();
    await program.answer('');
    const source = helper();
    await failure(source);
    await program.answer(CAROLS);
    expect(await source.get()).toEqual({ kind: 'password', username: 'carol', password: 'secret' });
  });

  test('may hold an identity token, which a token service gives others for', async () => {
    const program = await helperProgram();
    await program.answer('{"Username":"<token>","Secret":"identity-of-carol"}');
    const { hub, upstream } = await hubAndUpstream({}, { credentials: { source: helper() } });
    hub.setIdentityTokens({ 'identity-of-carol': 'carol' });
    valueOf(await upstream.headManifest(PRIVATE, LATEST, CONFIGURED));
    const [asked] = hub.requests.filter(({ kind }) => kind === 'token');
    expect(asked?.method).toBe('POST');
    expect(asked?.headers.authorization).toBeUndefined();
    hub.setIdentityTokens({});
    hub.expireTokens();
    expect(causeOf(await upstream.headManifest(PRIVATE, LATEST, CONFIGURED))).toContain(
      'rejects the configured credentials',
    );
  });
});

async function dockerConfig(document: unknown, host = 'registry.example'): Promise<DockerConfig> {
  const path = join(await testFolder(), 'config.json');
  await writeFile(path, typeof document === 'string' ? document : JSON.stringify(document));
  return new DockerConfig({ path, host, now: () => 0 });
}

const carolsAuth = { auth: Buffer.from('carol:secret').toString('base64') };
const CAROLS_LOGIN = { kind: 'password', username: 'carol', password: 'secret' };

describe('a config.json of Docker', () => {
  test.each([
    ['registry.example', { 'registry.example': carolsAuth }],
    ['registry.example', { 'https://registry.example': carolsAuth }],
    ['docker.io', { 'https://index.docker.io/v1/': carolsAuth }],
    ['docker.io', { 'index.docker.io': carolsAuth }],
    ['docker.io', { 'https://registry-1.docker.io': carolsAuth }],
    ['docker.io', { 'docker.io': carolsAuth }],
    ['registry.example', { 'registry.example': { username: 'carol', password: 'secret' } }],
  ])('logs in at %s by %j', async (host, auths) => {
    expect(await (await dockerConfig({ auths }, host)).get()).toEqual(CAROLS_LOGIN);
  });

  test('may hold an identity token', async () => {
    const source = await dockerConfig({
      auths: { 'registry.example': { ...carolsAuth, identitytoken: 'i' } },
    });
    expect(await source.get()).toEqual({ kind: 'identity-token', token: 'i' });
  });

  test.each([
    { credHelpers: { 'registry.example': 'test' } },
    { credsStore: 'test', auths: { 'registry.example': {} } },
    { credsStore: 'none-such', credHelpers: { 'registry.example': 'test' } },
  ])('sends us to a helper by %j', async (config) => {
    const program = await helperProgram();
    expect(await (await dockerConfig(config)).get()).toEqual(CAROLS_LOGIN);
    expect(await program.asked()).toEqual(['registry.example']);
  });

  test('is read whenever it is needed', async () => {
    const source = await dockerConfig({});
    expect(await failure(source)).toBe(`${source.name} holds no credentials for registry.example`);
    await writeFile(source.name, JSON.stringify({ auths: { 'registry.example': carolsAuth } }));
    expect(await source.get()).toEqual(CAROLS_LOGIN);
  });

  test.each([
    ['{"auths": "very-secret', 'is not JSON'],
    [
      { auths: { 'registry.example': { auth: 'bm9jb2xvbg==' } } },
      'holds no credentials for registry.example',
    ],
    [{ credsStore: '../../bin/sh' }, 'names a credential helper with an invalid name'],
  ])('that holds %j says no more than why', async (document, why) => {
    const source = await dockerConfig(document);
    expect(await failure(source)).toBe(`${source.name} ${why}`);
  });

  test('that is gone is named', async () => {
    const source = new DockerConfig({ path: '/none/such/config.json', host: 'x', now: () => 0 });
    expect(await failure(source)).toBe('/none/such/config.json cannot be read');
  });
});
