import { accessSync, constants, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const IMPORT = /from '(\.{1,2}\/[^']+)'/g;

/** Where servers are on Debian, though not on every user's PATH. */
const FOLDERS = [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'];

/** The Debian package of each program that tests run. */
export const PACKAGES = {
  containerd: 'containerd',
  ctr: 'containerd',
  docker: 'docker.io',
  'docker-registry': 'docker-registry',
  dockerd: 'docker.io',
  ip: 'iproute2',
  nginx: 'nginx',
  openssl: 'openssl',
  podman: 'podman',
  readelf: 'binutils',
  'redis-cli': 'redis-server',
  'redis-server': 'redis-server',
  setpriv: 'util-linux',
  skopeo: 'skopeo',
  unshare: 'util-linux',
};

/** What a file runs: programs, or `root` for its rights. A test needs what it runs and what all that it imports runs. */
const REQUIRES = {
  'test/e2e/bundles.test.ts': ['openssl'],
  'test/support/certificates.ts': ['openssl'],
  'test/support/containerd.ts': ['root', 'containerd', 'ctr'],
  'test/support/docker-registry.ts': ['docker-registry'],
  'test/support/dockerd.ts': ['root', 'dockerd', 'docker'],
  'test/support/nginx.ts': ['nginx'],
  'test/support/nobody.ts': ['root', 'setpriv'],
  'test/support/own-network.ts': ['root', 'ip', 'unshare'],
  'test/support/podman.ts': ['root', 'podman'],
  'test/support/redis.ts': ['redis-cli', 'redis-server'],
  'test/support/skopeo.ts': ['skopeo'],
  'test/support/tls-set.ts': ['openssl'],
  'test/support/small-disk.ts': ['root'],
  // Without these no end-to-end test that uses a secret runs before it.
  'test/printed/secrets.test.ts': ['docker-registry', 'skopeo'],
  'test/fixtures/images.test.ts': ['readelf', 'skopeo'],
  'test/bundle/signature.test.ts': ['openssl'],
  'test/setup/certificates.test.ts': ['openssl'],
  'test/setup/client-files.flow.test.ts': ['openssl'],
};

/** @returns {string[]} What of all that the tests need is not here. */
export function missingRequirements() {
  return [...new Set(Object.values(REQUIRES).flat())].filter((name) => !isHere(name)).sort();
}

/** @returns {{ file: string, missing: string[] }[]} The test files that cannot run here, from the checkout's root. */
export function stuckTests() {
  const missing = new Set(missingRequirements());
  return readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => ({
      file: join('test', name),
      missing: requirementsOf(join('test', name)).filter((need) => missing.has(need)),
    }))
    .filter((test) => test.missing.length > 0);
}

/**
 * @param {string} file A test file, from the checkout's root.
 * @returns {string[]} What it needs, sorted.
 */
export function requirementsOf(file) {
  const files = new Set([file]);
  for (const one of files) for (const imported of importsOf(one)) files.add(imported);
  const needs = Object.entries(REQUIRES).filter(([part]) => files.has(part));
  return [...new Set(needs.flatMap(([, names]) => names))].sort();
}

/** The files of the test folder that a file imports. */
function importsOf(file) {
  const source = readFileSync(join(ROOT, file), 'utf8');
  return [...source.matchAll(IMPORT)]
    .map(([, specifier]) => relative(ROOT, join(ROOT, dirname(file), specifier)))
    .filter((path) => path.startsWith('test/'));
}

function isHere(name) {
  return name === 'root'
    ? process.getuid?.() === 0
    : FOLDERS.some((folder) => isExecutable(join(folder, name)));
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
