import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('..', import.meta.url).pathname;
const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8');

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
}

const manifest = JSON.parse(read('package.json')) as Readonly<
  Record<'dependencies' | 'devDependencies', Readonly<Record<string, string>>>
>;
const lock = JSON.parse(read('package-lock.json')) as { readonly packages: Readonly<Record<string, Locked>> };
const installed = Object.entries(lock.packages).filter(([path]) => path !== '');

/** Their scripts build what has not come prebuilt, which other packages bring for Linux, macOS and Windows. */
const PREBUILT: Readonly<Record<string, string>> = {
  lmdb: '@lmdb/lmdb-linux-x64',
  'msgpackr-extract': '@msgpackr-extract/msgpackr-extract-linux-x64',
};

describe('dependencies', () => {
  it('are of one version each, known by a hash', () => {
    for (const versions of [manifest.dependencies, manifest.devDependencies]) {
      for (const [name, version] of Object.entries(versions))
        expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
    }
    for (const [path, { integrity, resolved }] of installed) {
      expect(integrity, path).toMatch(/^sha512-/);
      expect(resolved, path).toBeUndefined();
    }
    expect(installed.length).toBeGreaterThan(50);
  });

  it('need no script of theirs to be installed', () => {
    const scripted = installed.filter(([, { hasInstallScript }]) => hasInstallScript === true);
    const names = scripted.map(([path]) => path.split('node_modules/').at(-1) ?? '');
    // Of development tools alone: fsevents, for macOS, is not there on other systems.
    for (const name of names.filter((each) => each !== 'fsevents')) {
      expect(Object.keys(PREBUILT)).toContain(name);
      expect(lock.packages[`node_modules/${PREBUILT[name]}`]?.integrity).toBeDefined();
    }
    for (const file of ['Dockerfile', '.ci/run']) {
      for (const [line] of read(file).matchAll(/npm (?:ci|prune).*/g))
        expect(line).toContain('--ignore-scripts');
    }
  });
});
