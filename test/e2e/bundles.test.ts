import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startFakeHub, type FakeHub } from '../fake/hub.ts';
import { image } from '../fixtures/images.ts';
import { opaqueLayer } from '../fixtures/tar.ts';
import { bigBlob, MIB } from '../support/big-blob.ts';
import { run, type Outcome } from '../support/commands.ts';
import type { ImportSummary } from '../../src/operations/protocol.ts';
import { chunksOf, importInto } from '../support/bundles.ts';
import { runCommand } from '../support/command.ts';
import { GOLANG, PLAIN } from '../support/filled-hub.ts';
import { fetchRaw } from '../support/http.ts';
import { startPierhead, type Pierhead } from '../support/pierhead.ts';
import { MAIN } from '../support/program.ts';
import { tempFolder, testFolder } from '../support/temp.ts';
import { eventually } from '../support/wait.ts';

const NOWHERE = 'http://127.0.0.1:9';
const large = bigBlob({ size: 3 * MIB + 7, seed: 71 });
const LARGE = { tags: ['latest'], image: image({ message: 'large', layers: [opaqueLayer(large.content)] }) };

let hub: FakeHub;
/** The data directory of a site that has pulled golang and large, and of plain only the manifest. */
let source: string;

beforeAll(async () => {
  hub = await startFakeHub();
  hub.add(GOLANG);
  hub.add(PLAIN);
  hub.add({ repository: 'library/large', ...LARGE });
  const folder = await tempFolder();
  source = join(folder.path, 'source');
  const server = await startPierhead({ upstreamUrl: hub.url, dataDir: source });
  for (const [repository, { image: content }] of [
    ['library/golang', GOLANG],
    ['library/large', LARGE],
  ] as const) {
    const path = `${server.url}/v2/${repository}`;
    await fetchRaw(`${path}/manifests/latest`, { headers: { Accept: '*/*' } });
    for (const { digest } of content.manifests) await fetchRaw(`${path}/manifests/${digest}`);
    for (const { digest } of content.blobs) await fetchRaw(`${path}/blobs/${digest}`);
    for (const { digest } of content.blobs) {
      const isStored = async () =>
        (await fetchRaw(`${path}/blobs/${digest}`, { method: 'HEAD' })).header('cache-status') ===
        'pierhead; hit';
      await eventually(isStored, `${digest} to be stored`);
    }
  }
  await fetchRaw(`${server.url}/v2/library/plain/manifests/latest`);
  await server.close();
  return async () => {
    await hub.close();
    await folder.remove();
  };
});

const inSource = (...args: string[]): Promise<Outcome> =>
  runCommand(args, { dataDir: source, upstreamUrl: NOWHERE });

/** A site that has nothing and asks nobody, and how to run commands there. */
async function site(settings: Readonly<Record<string, string>> = {}) {
  const dataDir = join(await testFolder(), 'data');
  const server = await startPierhead({
    upstreamUrl: NOWHERE,
    dataDir,
    settings: { OFFLINE: 'true', ...settings },
  });
  onTestFinished(() => server.close());
  return { dataDir, server, run: (...args: string[]) => runCommand(args, { dataDir, upstreamUrl: NOWHERE }) };
}

async function expectLarge({ url }: Pierhead): Promise<void> {
  const { body } = await fetchRaw(`${url}${large.target.replace('big', 'large')}`);
  expect(body.equals(large.whole)).toBe(true);
}

describe('`pierhead export` and `import`', () => {
  it('carry images from one site to another, beside a server and without one', async () => {
    const path = join(await testFolder(), 'images.tar');
    const exported = await inSource('export', '-o', path, 'golang', 'large');
    expect(exported.status, exported.stderr).toBe(0);
    expect(exported.stdout.toString()).toMatch(/images\.tar: 2 images, 9 manifests, \d+ blobs, .* MB\n/);
    expect(exported.stdout.toString()).toContain(
      '  golang:latest  linux/amd64, linux/arm/v7, linux/arm64/v8, windows(10.0.20348.2966)/amd64\n',
    );
    const { server, run: command, dataDir } = await site();
    const imported = await command('import', path);
    expect(imported.status, imported.stderr).toBe(0);
    expect(imported.stdout.toString()).toMatch(/: 2 images, \d+ blobs added .* not signed, pinned\n/);
    expect(imported.stdout.toString()).toContain(`  golang:latest  ${GOLANG.image.root.digest}\n`);
    await expectLarge(server);
    expect((await command('images')).stdout.toString()).toMatch(/^golang:latest .* pinned/m);
    const again = await command('import', path);
    expect(again.stdout.toString()).toContain(': 2 images, 0 blobs added');
    await server.stop();
    const alone = await command('import', path, '--json');
    expect(JSON.parse(alone.stdout.toString())).toMatchObject([{ isPinned: true, stored: { blobs: 0 } }]);
    const next = await startPierhead({ upstreamUrl: NOWHERE, dataDir, settings: { OFFLINE: 'true' } });
    onTestFinished(() => next.close());
    await expectLarge(next);
  });

  it('take everything that is whole when nothing is named, and say what is not', async () => {
    const path = join(await testFolder(), 'images.tar');
    const exported = await inSource('export', '-o', path);
    expect(exported.status).toBe(0);
    expect(exported.stderr).toMatch(/^plain:latest: partial: sha256:\w+.* not cached\n$/);
    expect(exported.stdout.toString()).toContain(': 2 images');
  });

  it('write nothing if what is named is not whole, unless they may', async () => {
    const folder = await testFolder();
    const path = join(folder, 'images.tar');
    const refused = await inSource('export', '-o', path, 'large', 'plain', 'none');
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('plain:latest: partial: ');
    expect(refused.stderr).toContain('none:latest: the tag is not cached\n');
    expect(refused.stderr).toContain('pierhead: nothing exported: 2 of 3 images partial or missing; ');
    expect(await readdir(folder)).toEqual([]);
    const allowed = await inSource('export', '-o', path, '--allow-incomplete', 'large', 'plain');
    expect(allowed.status).toBe(0);
    expect(allowed.stdout.toString()).toContain(': 1 image,');
    const platform = await inSource('export', '-o', path, '--platform', 'linux/riscv64', 'golang');
    expect(platform.stderr).toContain('golang:latest: no manifest for linux/riscv64\n');
    expect(platform.status).toBe(1);
  });

  it('go through a pipe', async () => {
    const { dataDir, server } = await site();
    const node = `${process.execPath} ${MAIN}`;
    const line = `${node} export -o - large --data-dir ${source} | ${node} import - --data-dir ${dataDir}`;
    const { stdout, stderr } = await run({ program: 'sh', args: ['-ec', line] });
    expect(stdout.toString()).toMatch(/^standard input: 1 image, 3 blobs added/);
    expect(stderr).toContain('standard output: 1 image, 1 manifest, 3 blobs, 3.2 MB\n');
    await expectLarge(server);
  });

  it('go in parts, which are one bundle in their order and none in another', async () => {
    const folder = await testFolder();
    const path = join(folder, 'images.tar');
    await inSource('export', '-o', path, 'large');
    const split = await inSource('export', '-o', path, '--split', '1MiB', 'large');
    expect(split.stdout.toString()).toContain('images.tar.001 to ');
    const names = (await readdir(folder)).sort();
    expect(names).toEqual(['images.tar', ...[1, 2, 3, 4].map((number) => `images.tar.00${number}`)]);
    const parts = names.slice(1).map((name) => join(folder, name));
    const joined = Buffer.concat(await Promise.all(parts.map((part) => readFile(part))));
    expect(joined.equals(await readFile(path))).toBe(true);
    const { run: command, server } = await site();
    const wrong = await command('import', ...parts.toReversed());
    expect(wrong).toMatchObject({ status: 2 });
    expect(wrong.stderr).toContain('name all parts in order');
    const short = await command('import', ...parts.slice(0, 3));
    expect(short).toMatchObject({ status: 1 });
    expect(short.stderr).toMatch(
      /images\.tar: nothing imported: the bundle is cut short: it ends at byte 3145728/,
    );
    expect(await command('import', ...parts)).toMatchObject({ status: 0, stderr: '' });
    await expectLarge(server);
  });

  it('leave out what the other side has, by an earlier bundle or by its index', async () => {
    const folder = await testFolder();
    const old = join(folder, 'old.tar');
    await inSource('export', '-o', old, 'large');
    const { run: command, server } = await site();
    await command('import', old);
    const index = join(folder, 'have.index');
    expect(await command('index', '-o', index)).toMatchObject({ status: 0, stderr: '' });
    expect(await readFile(index, 'utf8')).toMatch(/^pierhead index 1\n(sha256:[0-9a-f]{64}\n){3}end 3\n$/);
    for (const since of [old, index]) {
      const path = join(folder, 'delta.tar');
      const delta = await inSource('export', '-o', path, '--since', since, '--json');
      expect(JSON.parse(delta.stdout.toString())).toMatchObject({ base: 3, images: [{}, {}] });
      expect((await stat(path)).size).toBeLessThan(MIB);
      expect(await command('import', path)).toMatchObject({ status: 0, stderr: '' });
    }
    await expectLarge(server);
    const empty = await site();
    const refused = await empty.run('import', join(folder, 'delta.tar'));
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('3 of 3 blobs that `export --since` left out are not cached');
  });

  it('sign, verify, and take nothing else where the settings say so', async () => {
    const folder = await testFolder();
    const [key, publicKey, other] = ['key.pem', 'key.pub', 'other.pub'].map((name) => join(folder, name));
    const openssl = (...args: string[]) => run({ program: 'openssl', args, cwd: folder });
    await openssl('genpkey', '-algorithm', 'ed25519', '-out', 'key.pem');
    await openssl('pkey', '-in', 'key.pem', '-pubout', '-out', 'key.pub');
    await openssl('genpkey', '-algorithm', 'ed25519', '-out', 'other.pem');
    await openssl('pkey', '-in', 'other.pem', '-pubout', '-out', 'other.pub');
    const [signed, unsigned] = ['signed.tar', 'unsigned.tar'].map((name) => join(folder, name));
    await inSource('export', '-o', signed ?? '', 'large', '--sign', key ?? '');
    await inSource('export', '-o', unsigned ?? '', 'large');
    const strict = await site({ IMPORT_VERIFY: publicKey ?? '' });
    const refused = await strict.run('import', unsigned ?? '');
    expect(refused).toMatchObject({ status: 1 });
    expect(refused.stderr).toContain('nothing imported: the bundle is not signed');
    expect((await strict.run('import', signed ?? '', '--verify', other ?? '')).stderr).toContain(
      'by another key',
    );
    expect((await strict.run('import', signed ?? '')).stdout.toString()).toContain('; signed, pinned\n');
    const lax = await site();
    // Whoever runs the command may have stricter settings than the server was started with.
    const config = join(folder, 'strict.yaml');
    await writeFile(config, `importVerify: ${publicKey}\n`);
    const meant = await lax.run('import', unsigned ?? '', '--config', config);
    expect(meant).toMatchObject({ status: 1 });
    expect(meant.stderr).toContain('nothing imported: the bundle is not signed');
    expect((await lax.run('import', '--verify', publicKey ?? '', unsigned ?? '')).status).toBe(1);
    expect((await lax.run('import', '--verify', publicKey ?? '', signed ?? '')).status).toBe(0);
    const wrong = await lax.run('import', '--verify', key ?? '', signed ?? '');
    expect(wrong).toMatchObject({ status: 2 });
    expect(wrong.stderr).toContain('not an Ed25519 public key');
    expect((await inSource('export', '-o', signed ?? '', '--sign', publicKey ?? '')).status).toBe(2);
  });

  it('go on from where they were when the server was killed', async () => {
    const path = join(await testFolder(), 'images.tar');
    await inSource('export', '-o', path, 'golang', 'large');
    const bytes = await readFile(path);
    const { dataDir, server, run: command } = await site();
    const stalled = (async function* () {
      yield* chunksOf(bytes.subarray(0, -MIB));
      await new Promise(() => undefined);
    })();
    const importing = importInto(dataDir, stalled);
    importing.catch(() => undefined);
    const isComing = async () =>
      (await readdir(join(dataDir, 'parts'))).some((name) => name.startsWith(large.content.digest));
    await eventually(isComing, 'the large blob to come in');
    await server.kill();
    await expect(importing).rejects.toThrow('the server stopped before the operation was done');
    const next = await startPierhead({ upstreamUrl: NOWHERE, dataDir, settings: { OFFLINE: 'true' } });
    onTestFinished(() => next.close());
    expect(await readdir(join(dataDir, 'parts'))).toEqual([]);
    expect((await fetchRaw(`${next.url}/v2/library/golang/manifests/latest`)).status).toBe(503);
    const [again] = JSON.parse(
      (await command('import', path, '--json')).stdout.toString(),
    ) as ImportSummary[];
    expect(again?.known.blobs).toBeGreaterThan(10);
    expect(again?.stored.blobs).toBeGreaterThan(0);
    await expectLarge(next);
  });

  it('say what is wrong with their words', async () => {
    const folder = await testFolder();
    const list = join(folder, 'list');
    await writeFile(list, 'golang:latest\nno name!\n');
    const wrong: readonly (readonly [readonly string[], string])[] = [
      [['export'], '-o is missing'],
      [['export', '-o', 'x', '--platform', 'arm'], '--platform: "arm" is not a platform'],
      [['export', '-o', 'x', '--split', '1'], '--split: "1" is not the size of a part'],
      [['export', '-o', '-', '--split', '1GB'], 'has no parts'],
      [['export', '-o', 'x', '--since', list], '--since: '],
      [['export', '-o', 'x', '--since', join(folder, 'none')], 'none: cannot read it (ENOENT)'],
      [['export', '-o', 'x', '-f', list], `${list}:2: "name!"`],
      [['export', '-o', 'x', '-f', join(folder, 'none')], 'cannot read '],
      [['import'], 'missing required argument'],
      [['index'], '-o is missing'],
    ];
    for (const [args, message] of wrong) {
      const outcome = await inSource(...args);
      expect(outcome, args.join(' ')).toMatchObject({ status: 2 });
      expect(outcome.stderr).toContain(message);
    }
    await writeFile(list, '# none\n');
    const empty = await inSource('export', '-o', 'x', '-f', list);
    expect(empty).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('nothing exported: no image was found'),
    });
    const none = await inSource('import', join(folder, 'none.tar'));
    expect(none).toMatchObject({ status: 1 });
    expect(none.stderr).toContain('none.tar');
    expect(await readdir(folder)).toEqual(['list']);
  });
});
