import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { generatedContent } from '../fake/content.ts';
import { startFakeHub } from '../fake/hub.ts';
import { golangFixture, image, multiPlatform, plainFixture } from '../fixtures/images.ts';
import { pushImage } from '../fixtures/push.ts';
import { opaqueLayer, tarLayer } from '../fixtures/tar.ts';
import { tinyElf } from '../fixtures/tiny-elf.ts';
import { attempt, run } from '../support/commands.ts';
import { startDockerRegistry } from '../support/docker-registry.ts';
import { fetchRaw } from '../support/http.ts';
import { testFolder } from '../support/temp.ts';

interface Config {
  readonly rootfs: { readonly diff_ids: readonly string[] };
}

describe('generated content', () => {
  test('has the digest of its bytes, in whatever pieces they are read', () => {
    const content = generatedContent({ size: 5_000_011, seed: 7 });
    const whole = content.expectedBytes(0, content.size);
    expect(digestOf(whole)).toBe(content.digest);
    const hash = createHash('sha256');
    const read = content.reader();
    for (let offset = 0; offset < content.size; offset += 77_777) {
      hash.update(read(offset, Math.min(77_777, content.size - offset)));
    }
    expect(`sha256:${hash.digest('hex')}`).toBe(content.digest);
    for (const offset of [0, 1, 3, 4094, 4095, 4096, 4097, 1_048_573, 4_999_999]) {
      for (const length of [1, 2, 5, 4099]) {
        const expected = whole.subarray(offset, offset + length);
        expect(content.expectedBytes(offset, length).equals(expected)).toBe(true);
      }
    }
  });

  test('is the same for the same seed, differs between seeds, and no two of its pages are alike', () => {
    const content = generatedContent({ size: 4 * 1024 * 1024, seed: 8 });
    expect(content.digest).toBe('sha256:f4be633aad631a5a427fd723d21f1f814b9fea90af7470009d0a48ff5139b505');
    expect(generatedContent({ size: 4 * 1024 * 1024, seed: 9 }).digest).not.toBe(content.digest);
    const pages = Array.from({ length: 1024 }, (_, page) =>
      digestOf(content.expectedBytes(page * 4096, 4096)),
    );
    expect(new Set(pages).size).toBe(1024);
  });
});

describe('the hand-made executable', () => {
  test('prints its message and exits with 0', async () => {
    const program = join(await testFolder(), 'hello');
    await writeFile(program, tinyElf('linux/amd64 ✓'), { mode: 0o755 });
    const { status, stdout } = await attempt({ program, args: [] });
    expect([status, stdout.toString()]).toEqual([0, 'linux/amd64 ✓\n']);
  });

  test.each([
    ['amd64', 'Advanced Micro Devices X86-64', '0x1000'],
    ['arm64', 'AArch64', '0x10000'],
  ] as const)('is a well-formed one for %s', async (machine, name, alignment) => {
    const program = join(await testFolder(), 'hello');
    await writeFile(program, tinyElf('x', machine));
    const { stdout } = await run({ program: 'readelf', args: ['-hlW', program] });
    const listing = stdout.toString();
    expect(listing).toContain(name);
    expect(listing).toMatch(new RegExp(`LOAD +0x0+ 0x0+400000 .* R E ${alignment}\n`));
  });
});

describe('layers', () => {
  test('are archives that tar reads', async () => {
    const layer = tarLayer([
      { path: 'etc/', mode: 0o755 },
      { path: 'etc/motd', content: 'hello\n', mode: 0o644 },
    ]);
    const archive = join(await testFolder(), 'layer.tar.gz');
    await writeFile(archive, layer.content.expectedBytes(0, layer.content.size));
    const { stdout } = await run({ program: 'tar', args: ['-tvzf', archive] });
    expect(stdout.toString()).toMatch(
      /^drwxr-xr-x 0\/0 +0 2023-11-1\d .* etc\/\n-rw-r--r-- 0\/0 +6 .* etc\/motd\n$/,
    );
    expect(digestOf(gunzipSync(await readFile(archive)))).toBe(layer.diffId);
  });
});

describe('images', () => {
  test.each(['oci', 'docker'] as const)('of %s types name the DiffIDs of their layers', (mediaTypes) => {
    const { blobs, layers, root } = image({ mediaTypes, layers: [tarLayer([{ path: 'more' }], 'tar')] });
    const [config, hello, more] = blobs.map((blob) => blob.expectedBytes(0, blob.size));
    if (config === undefined || hello === undefined || more === undefined)
      throw new Error('a blob is missing');
    const { rootfs } = JSON.parse(config.toString()) as Config;
    expect(rootfs.diff_ids).toEqual([digestOf(gunzipSync(hello)), digestOf(more)]);
    expect(JSON.parse(root.bytes.toString())).toMatchObject({ mediaType: root.mediaType, layers });
  });

  test('are the same bytes in every run', () => {
    expect(multiPlatform().root.digest).toBe(
      'sha256:da4f932e47bd50ccd9bbe63e4e79dc25a8da5ff498b49a4540fd685f173f46f1',
    );
    expect(plainFixture().image.root.digest).toBe(
      'sha256:7e8c1704ea0d5921d3e833c61e4fcdc818ec5ad24ced02afc7ba700fc8c53f58',
    );
  });

  test('for several platforms are one index with an attestation for each Linux image', () => {
    const { root, images, attestations } = multiPlatform();
    const { manifests } = JSON.parse(root.bytes.toString()) as {
      manifests: { platform: Record<string, string>; annotations?: Record<string, string> }[];
    };
    const platforms = manifests.map(({ platform }) => `${platform['os']}/${platform['architecture']}`);
    expect([...images.keys()]).toEqual(['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7', 'windows/amd64']);
    expect(platforms.slice(4)).toEqual(['unknown/unknown', 'unknown/unknown', 'unknown/unknown']);
    expect(manifests[3]?.platform['os.version']).toBe('10.0.20348.2966');
    expect(manifests[4]?.annotations).toEqual({
      'vnd.docker.reference.digest': images.get('linux/amd64')?.root.digest,
      'vnd.docker.reference.type': 'attestation-manifest',
    });
    expect(attestations).toHaveLength(3);
  });
});

describe('real programs', () => {
  test('skopeo copies every platform from the stand-in, byte for byte', async () => {
    const hub = await startFakeHub();
    const golang = golangFixture();
    hub.add({ repository: 'library/golang', ...golang });
    const folder = await testFolder();
    const source = `docker://${hub.host}/library/golang:latest`;
    const copy = [
      '--insecure-policy',
      'copy',
      '--all',
      '--src-tls-verify=false',
      source,
      `dir:${folder}/copy`,
    ];
    await run({ program: 'skopeo', args: copy });
    expect(await readFile(join(folder, 'copy', 'manifest.json'))).toEqual(golang.image.root.bytes);
    for (const blob of golang.image.blobs) {
      const copied = await readFile(join(folder, 'copy', blob.digest.slice(7)));
      expect(copied.equals(blob.expectedBytes(0, blob.size))).toBe(true);
    }
    expect(hub.violations).toEqual([]);
    await hub.close();
  });

  test('a docker-registry takes an image with every kind of manifest and a large layer', async () => {
    const registry = await startDockerRegistry();
    const layer = opaqueLayer(generatedContent({ size: 20_000_003, seed: 10 }));
    const pushed = multiPlatform({ layers: [layer] });
    await pushImage({ baseUrl: registry.url, repository: 'library/golang', tag: 'latest' }, pushed);
    const index = await fetchRaw(`${registry.url}/v2/library/golang/manifests/latest`, {
      headers: { Accept: pushed.root.mediaType },
    });
    expect(index.body).toEqual(pushed.root.bytes);
    const blob = await fetchRaw(`${registry.url}/v2/library/golang/blobs/${layer.content.digest}`);
    expect(digestOf(blob.body)).toBe(layer.content.digest);
    await registry.close();
  });
});
