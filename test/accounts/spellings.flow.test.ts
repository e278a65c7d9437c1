import { describe, expect, it } from 'vitest';
import { accountsFile, basic, htpasswdLine } from '../support/accounts.ts';
import { startTestApp } from '../support/app.ts';
import { filledHub, GOLANG, PLAIN } from '../support/filled-hub.ts';
import { rawRequest } from '../support/http.ts';
import { testFolder } from '../support/temp.ts';

const ALICE = { name: 'alice', password: 'alice-and-her:password' };

/** Two registries with the same repositories, of which alice may pull docker.io/library/plain and nothing else. */
async function twoRegistries() {
  const [hub, quay] = [await filledHub(), await filledHub()];
  const htpasswd = await accountsFile(await testFolder(), 'htpasswd', htpasswdLine(ALICE));
  const yaml = `upstreams:
  quay.io: { url: "${quay.url}" }
accounts:
- name: alice
  allow: [docker.io/library/plain]
`;
  const flags = { authListen: '127.0.0.1:0', htpasswdFile: htpasswd };
  const app = await startTestApp({ hub, yaml, flags });
  const ask = (target: string, method = 'GET') =>
    rawRequest({ origin: app.authUrl, target, method, headers: basic(ALICE) });
  return { hub, quay, app, ask };
}

const root = GOLANG.image.root.digest;
const WAYS = [
  'manifests/latest',
  `manifests/${root}`,
  `manifests/${root.replace(':', '%3A')}`,
  `blobs/${GOLANG.image.blobs[0]?.digest}`,
  'tags/list',
  `referrers/${root}`,
];

/** What stands for `docker.io/library/<name>` in requests: the path, and the query. */
const SPELLINGS: readonly (readonly [path: (name: string) => string, query: string])[] = [
  [(name) => `library/${name}`, ''],
  [(name) => name, ''],
  [(name) => `docker.io/library/${name}`, ''],
  [(name) => `docker.io/${name}`, ''],
  [(name) => `index.docker.io/library/${name}`, ''],
  [(name) => `registry-1.docker.io/${name}`, ''],
  [(name) => `Docker.IO/${name}`, ''],
  [(name) => `%6Cibrary/${name}`, ''],
  [(name) => `library/${name}`, '?ns=docker.io'],
  [(name) => name, '?ns=registry-1.docker.io'],
  [(name) => name, '?ns=INDEX.docker.io'],
  [(name) => name, '?ns=docker.io&ns=quay.io'],
  [(name) => name, '?n%73=docker%2Eio'],
];

describe('what an account may pull, however it is spelt,', () => {
  it.each(SPELLINGS)('is found by %s%s', async (path, query) => {
    const { ask } = await twoRegistries();
    const answer = await ask(`/v2/${path('plain')}/manifests/latest${query}`);
    expect(answer.status).toBe(200);
    expect(answer.body.equals(PLAIN.image.root.bytes)).toBe(true);
  });

  it.each(SPELLINGS)('and nothing else is, cached or not: %s%s', async (path, query) => {
    const { ask, app, hub } = await twoRegistries();
    const cached = ['manifests/latest', 'tags/list', `blobs/${GOLANG.image.blobs[0]?.digest}`];
    for (const way of cached) await app.get(`/v2/library/golang/${way}`);
    const asked = hub.requests.length;
    for (const way of WAYS) {
      for (const method of ['GET', 'HEAD'])
        expect((await ask(`/v2/${path('golang')}/${way}${query}`, method)).status, way).toBe(403);
    }
    expect(hub.requests.length).toBe(asked);
  });

  it.each([
    'quay.io/library/plain/manifests/latest',
    'QUAY.io/library/plain/manifests/latest',
    'library/plain/manifests/latest?ns=quay.io',
    'library/plain/manifests/latest?ns=quay.io&ns=docker.io',
    'docker.io/library/plain/manifests/latest?ns=quay.io',
  ])('is not had from another registry by %s', async (target) => {
    const { ask, quay } = await twoRegistries();
    expect((await ask(`/v2/${target}`)).status).toBe(403);
    expect(quay.requests).toEqual([]);
  });

  it.each([
    'library/plain/../golang/manifests/latest',
    'library/plain%2F..%2Fgolang/manifests/latest',
    'library//golang/manifests/latest',
    'library/golang/manifests/latest/',
    'LIBRARY/golang/manifests/latest',
    'library/golang/manifests/latest?ns=',
    'library/golang/manifests/latest?ns=docker.io/',
    'library/golang/manifests/latest?ns=docker.io:443',
    'library/golang/manifests/latest?ns=docker.io.',
  ])('is no less for what is no name: %s', async (target) => {
    const { ask, hub, app } = await twoRegistries();
    await app.get('/v2/library/golang/manifests/latest');
    const asked = hub.requests.length;
    expect([403, 404]).toContain((await ask(`/v2/${target}`)).status);
    expect(hub.requests.length).toBe(asked);
  });

  it('does not tell what there is of the rest', async () => {
    const { ask, app, hub } = await twoRegistries();
    await app.get('/v2/library/golang/manifests/latest');
    const asked = hub.requests.length;
    const answers = new Set<string>();
    // Cached, private upstream, nowhere.
    for (const name of ['library/golang', 'carol/private', 'nobody/nothing']) {
      const answer = await ask(`/v2/${name}/manifests/latest`);
      const headers = ['cache-status', 'cache-control', 'vary', 'warning'].map((each) => answer.header(each));
      const text = answer.body.toString().replaceAll(name, 'that');
      answers.add(JSON.stringify([answer.status, headers, text]));
    }
    expect(answers.size).toBe(1);
    expect(hub.requests.length).toBe(asked);
  });
});
