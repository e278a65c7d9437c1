import { describe, expect, it } from 'vitest';
import { multiPlatform } from '../../fixtures/images.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { attempt } from '../../support/commands.ts';
import { filledHub, GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { MAIN } from '../../support/program.ts';
import { refresh } from '../../support/admin.ts';

const GOLANG_PATH = '/v2/library/golang';
const root = GOLANG.image.root.digest;
const [someBlob] = GOLANG.image.blobs;
const other = multiPlatform({ message: 'other' });

async function code(app: TestApp, target: string, method = 'GET'): Promise<string> {
  const answer = await app.begin(target, { method }).finished();
  if (answer.status === 200 || answer.bodyBytes === 0) return String(answer.status);
  const { errors } = JSON.parse(answer.body.toString()) as { errors: { code: string }[] };
  return `${answer.status} ${errors[0]?.code}`;
}

const ALL_WAYS = [
  `${GOLANG_PATH}/manifests/latest`,
  `${GOLANG_PATH}/manifests/${root}`,
  `${GOLANG_PATH}/blobs/${someBlob?.digest}`,
  `${GOLANG_PATH}/tags/list`,
  `${GOLANG_PATH}/referrers/${root}`,
];

describe('a repository that may not be pulled', () => {
  it.each([
    ['is denied', { PIERHEAD_UPSTREAM_DENY: 'golang' }],
    ['is not among what is allowed', { PIERHEAD_UPSTREAM_ALLOW: 'library/plain,acme/**' }],
  ])('because it %s is 403 in every way, and upstream is not asked', async (_why, env) => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, env });
    for (const target of ALL_WAYS) {
      expect(await code(app, target)).toBe('403 DENIED');
      expect(await code(app, target, 'HEAD')).toBe('403');
    }
    expect(hub.requests).toEqual([]);
    const reason = (await app.get(ALL_WAYS[0] ?? '')).body.toString();
    expect(reason).toContain('golang may not be pulled here: by the settings of this mirror');
    expect(await code(app, '/v2/library/plain/manifests/latest')).toBe('200');
  });

  it('is not served from the cache, listed, resolved or checked either', async () => {
    const hub = await filledHub();
    const before = await startTestApp({ hub });
    for (const name of ['golang', 'plain']) await before.get(`/v2/library/${name}/manifests/latest`);
    if (someBlob !== undefined) await before.get(`${GOLANG_PATH}/blobs/${someBlob.digest}`);
    await before.stop();
    hub.reset();
    const env = { PIERHEAD_UPSTREAM_DENY: 'golang' };
    const app = await startTestApp({ hub, dataDir: before.dataDir, env });
    for (const target of ALL_WAYS) expect(await code(app, target)).toBe('403 DENIED');
    const catalogue = JSON.parse((await app.get('/v2/_catalog')).body.toString()) as unknown;
    expect(catalogue).toEqual({ repositories: ['docker.io/library/plain'] });
    const resolved = await app.begin('/api/v1/resolve?image=golang', { origin: app.adminUrl }).finished();
    expect(resolved.status).not.toBe(200);
    expect(resolved.body.toString()).toContain('may not be pulled here');
    expect(JSON.stringify((await refresh(app, 'golang')).json)).toContain('may not be pulled here');
    expect(hub.requests.filter(({ repository }) => repository === 'library/golang')).toEqual([]);
  });
});

describe('commands', () => {
  it.each(['warm', 'check'])('do not take for pullable what may not be pulled: %s', async (command) => {
    const hub = await filledHub();
    const before = await startTestApp({ hub });
    for (const way of ALL_WAYS) await before.get(way);
    await before.stop();
    hub.reset();
    const settings = ['--data-dir', before.dataDir, '--upstream', hub.url];
    const { status, stdout, stderr } = await attempt({
      program: process.execPath,
      args: [MAIN, command, 'golang', ...settings],
      cwd: before.dataDir,
      env: { PIERHEAD_UPSTREAM_DENY: 'golang' },
    });
    expect(status).toBe(1);
    expect(stdout.toString() + stderr).toContain('may not be pulled here');
    expect(hub.count({ repository: 'library/golang' })).toBe(0);
  });
});

describe('a repository of which some tags may be pulled', () => {
  const env = { PIERHEAD_UPSTREAM_ALLOW: 'library/golang:1.*', PIERHEAD_UPSTREAM_DENY: 'golang:1.9*' };

  it('gives those and what they name, by tag and by digest, and lists no others', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', tags: ['1.9.1', 'edge'], image: other });
    const app = await startTestApp({ hub, env });
    expect(await code(app, `${GOLANG_PATH}/manifests/1.22`)).toBe('200');
    for (const tag of ['latest', '1.9.1', 'edge']) {
      expect(await code(app, `${GOLANG_PATH}/manifests/${tag}`)).toBe('403 DENIED');
    }
    for (const { digest } of GOLANG.image.manifests) {
      expect(await code(app, `${GOLANG_PATH}/manifests/${digest}`)).toBe('200');
    }
    for (const { digest } of GOLANG.image.blobs) {
      expect(await code(app, `${GOLANG_PATH}/blobs/${digest}`)).toBe('200');
    }
    const tags = JSON.parse((await app.get(`${GOLANG_PATH}/tags/list`)).body.toString()) as {
      tags: string[];
    };
    expect(tags.tags).toEqual(GOLANG.tags.filter((tag) => tag.startsWith('1.')));
  });

  it('lists those to the end, page by page, however many others lie between', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', tags: ['0', '1.21', '1.23', '1.24', 'zz'], image: other });
    const app = await startTestApp({ hub, env: { PIERHEAD_UPSTREAM_ALLOW: 'golang:1.22,golang:latest' } });
    const listed: string[] = [];
    let next: string | undefined = `${GOLANG_PATH}/tags/list?n=1`;
    for (let pages = 0; next !== undefined && pages < 10; pages++) {
      const answer = await app.get(next);
      const { tags } = JSON.parse(answer.body.toString()) as { tags: string[] };
      expect(tags.length).toBeLessThanOrEqual(1);
      listed.push(...tags);
      next = /^<(.*)>; rel="next"$/.exec(answer.header('link') ?? '')?.[1];
    }
    expect(listed).toEqual(['1.22', 'latest']);
  });

  it('does not give by digest what only others name, though upstream has it', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', tags: ['edge'], image: other });
    const app = await startTestApp({ hub, env });
    expect(await code(app, `${GOLANG_PATH}/manifests/1.22`)).toBe('200');
    const asked = hub.requests.length;
    const ways = [
      `${GOLANG_PATH}/manifests/${other.root.digest}`,
      `${GOLANG_PATH}/referrers/${other.root.digest}`,
      ...other.manifests.map(({ digest }) => `${GOLANG_PATH}/manifests/${digest}`),
    ];
    for (const target of ways) {
      expect(await code(app, target)).toBe('403 DENIED');
      expect(await code(app, target, 'HEAD')).toBe('403');
    }
    expect(hub.requests.length).toBe(asked);
  });

  it('lets Docker go on by digest from the HEAD of a tag that nobody has pulled yet', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, env });
    const head = await app.head(`${GOLANG_PATH}/manifests/1.22`);
    const digest = head.header('docker-content-digest') ?? '';
    expect(await code(app, `${GOLANG_PATH}/manifests/${digest}`)).toBe('200');
  });

  it('lets signatures be fetched that the list of referrers names', async () => {
    const hub = await filledHub();
    const { digest, mediaType, bytes } = PLAIN.image.root;
    hub.addManifest('library/golang', PLAIN.image.root);
    hub.setReferrers('library/golang', root, [
      { digest, mediaType, size: bytes.length, artifactType: 'a/b' },
    ]);
    const app = await startTestApp({ hub, env });
    await app.get(`${GOLANG_PATH}/manifests/1.22`);
    expect(await code(app, `${GOLANG_PATH}/manifests/${digest}`)).toBe('403 DENIED');
    expect(await code(app, `${GOLANG_PATH}/referrers/${root}`)).toBe('200');
    expect(await code(app, `${GOLANG_PATH}/manifests/${digest}`)).toBe('200');
  });
});

it('the catalogue is walked to its end, page by page, past repositories that may not be pulled', async () => {
  const hub = await filledHub();
  for (const name of ['a', 'b', 'c', 'd', 'e']) hub.add({ ...PLAIN, repository: `acme/${name}` });
  const before = await startTestApp({ hub });
  for (const name of ['a', 'b', 'c', 'd', 'e']) await before.get(`/v2/acme/${name}/manifests/latest`);
  await before.stop();
  const env = { PIERHEAD_UPSTREAM_DENY: 'acme/a,acme/c,acme/d' };
  const app = await startTestApp({ hub, dataDir: before.dataDir, env });
  const pages: string[][] = [];
  let next: string | undefined = '/v2/_catalog?n=1';
  while (next !== undefined && pages.length < 6) {
    const answer = await app.get(next);
    pages.push((JSON.parse(answer.body.toString()) as { repositories: string[] }).repositories);
    next = /^<(.*)>; rel="next"$/.exec(answer.header('link') ?? '')?.[1];
  }
  expect(pages).toEqual([['docker.io/acme/b'], ['docker.io/acme/e']]);
});

describe('one upstream', () => {
  it("is not bound by another's rules", async () => {
    const [hub, second] = [await filledHub(), await filledHub()];
    const yaml = `upstreams:\n  quay.io: { url: "${second.url}", deny: ["**"] }\n`;
    const app = await startTestApp({ hub, yaml });
    expect(await code(app, `${GOLANG_PATH}/manifests/latest`)).toBe('200');
    expect(await code(app, `${GOLANG_PATH}/manifests/latest?ns=quay.io`)).toBe('403 DENIED');
    expect(await code(app, '/v2/quay.io/library/golang/manifests/latest')).toBe('403 DENIED');
    expect(second.requests).toEqual([]);
  });
});
