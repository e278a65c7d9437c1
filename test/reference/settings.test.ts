import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ACCOUNT_SETTINGS } from '../../src/config/access.ts';
import { withSections } from '../../src/reference/markdown.ts';
import { settingsYaml } from '../../src/reference/settings-file.ts';
import { settingsSections } from '../../src/reference/settings.ts';
import { SETTING_FLAGS } from '../../src/config/flags.ts';
import { SETTING_GROUPS } from '../../src/config/groups.ts';
import { loadSettings } from '../../src/config/load.ts';
import { CLIENT_SETTINGS, SETTINGS } from '../../src/config/schema.ts';
import { IDENTITY_SETTINGS, UPSTREAM_SETTINGS } from '../../src/config/upstreams.ts';
import type { Setting } from '../../src/config/fields.ts';
import { slugs } from '../support/markdown.ts';
import { fileFor, neededBeside } from '../support/needed-settings.ts';

const ROOT = new URL('../../', import.meta.url);
const TOP = Object.entries<Setting>(SETTINGS);
const UPSTREAM = Object.entries<Setting>(UPSTREAM_SETTINGS);
const CLIENT = Object.entries<Setting>(CLIENT_SETTINGS);
const ACCOUNT = Object.entries<Setting>(ACCOUNT_SETTINGS);
const IDENTITY = Object.entries<Setting>(IDENTITY_SETTINGS);

function inFile(setting: Setting): unknown {
  return setting.default ?? setting.example;
}

describe('config/pierhead.yaml', () => {
  it('is what the settings generate', async () => {
    expect(await readFile(new URL('config/pierhead.yaml', ROOT), 'utf8')).toBe(settingsYaml());
  });

  it('changes nothing as it is', () => {
    const load = (flags: { readonly config?: string }) =>
      loadSettings({ flags, env: {}, cwd: '/srv', readFile: settingsYaml }).settings;
    expect(load({ config: 'pierhead.yaml' })).toEqual(load({}));
  });

  it('holds each key with its default or an example once the comment signs are taken away', () => {
    const yaml = settingsYaml().replaceAll(/^#(?=[^ ]|  )/gm, '');
    expect(parse(yaml, { schema: 'failsafe' })).toEqual({
      ...Object.fromEntries(TOP.map(([key, setting]) => [key, inFile(setting)])),
      clients: [Object.fromEntries(CLIENT.map(([key, setting]) => [key, inFile(setting)]))],
      accounts: [Object.fromEntries(ACCOUNT.map(([key, setting]) => [key, inFile(setting)]))],
      upstreams: {
        'docker.io': {
          ...Object.fromEntries(UPSTREAM.map(([key, setting]) => [key, inFile(setting)])),
          identities: [Object.fromEntries(IDENTITY.map(([key, setting]) => [key, inFile(setting)]))],
        },
        'quay.io': '',
        'ghcr.io': 'https://ghcr.io',
      },
    });
  });

  it.each(TOP)('shows a valid %s', (key, setting) => {
    const entries = [[key, setting] as const, ...neededBeside(key)];
    const yaml = JSON.stringify(Object.fromEntries(entries.map(([each, row]) => [each, inFile(row)])));
    const { sources } = loadSettings({
      flags: { config: 'p.yaml' },
      env: {},
      cwd: '/srv',
      readFile: (path) => (path.endsWith('p.yaml') ? yaml : fileFor(path)),
    });
    expect(sources.find((shown) => shown.key === key)?.source).toEqual({
      kind: 'file',
      path: 'p.yaml',
      line: 1,
    });
  });
});

describe('docs/reference/settings.md', () => {
  const read = () => readFile(new URL('docs/reference/settings.md', ROOT), 'utf8');

  it('is what the settings generate', async () => {
    const page = await read();
    expect(withSections(page, settingsSections())).toBe(page);
  });

  it('has an anchor for each setting and each group', async () => {
    const anchors = slugs(await read());
    const keys = SETTING_GROUPS.flatMap(({ prefix, settings }) =>
      Object.keys(settings).map((key) => `${prefix}${key}`.replaceAll(/[^\w]/g, '').toLowerCase()),
    );
    expect(anchors).toEqual(expect.arrayContaining(keys));
    // A second heading of the same name would get a number.
    expect(new Set(anchors).size).toBe(1 + keys.length + SETTING_GROUPS.length);
  });

  it('must have the markers', () => {
    expect(() => withSections('# Pierhead\n', settingsSections())).toThrow(
      'lacks <!-- groups: by npm run docs -->',
    );
  });
});

describe('the groups of settings', () => {
  const all = SETTING_GROUPS.flatMap(({ settings }) => Object.entries<Setting>(settings));

  it('hold each setting once, in the order of `pierhead config`', () => {
    const top = SETTING_GROUPS.filter(({ prefix }) => prefix === '').map(({ settings }) => settings);
    expect(top.flatMap((settings) => Object.keys(settings))).toEqual(Object.keys(SETTINGS));
    expect(all.length).toBe([TOP, UPSTREAM, CLIENT, ACCOUNT, IDENTITY].flat().length);
  });

  it.each(all)('say of %s in one short sentence what it is', (_key, { help, more = '.' }) => {
    expect(help).toMatch(/^(?:[^.]|\.(?=[a-z/])){10,90}\.$/);
    expect(more).toMatch(/\.$/);
  });

  it.each(all.filter(([, { example }]) => example !== undefined))(
    'show a valid example of %s',
    (_key, { schema, example }) => {
      expect(schema.safeParse(example).success).toBe(true);
    },
  );
});

describe('the table of settings', () => {
  it.each(TOP)('names %s alike everywhere', (key, { env, flag }) => {
    const words = key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    expect(flag).toBe(`--${words}`);
    expect(env).toBe(`PIERHEAD_${words.toUpperCase().replaceAll('-', '_')}`);
  });

  it('leaves the names alone that Kubernetes injects', () => {
    for (const [, { env }] of [...TOP, ...UPSTREAM]) expect(env).not.toMatch(/_PORT$|_PORT_|_SERVICE_/);
  });

  it('gives a flag to each setting, and two to a switch', () => {
    const names = SETTING_FLAGS.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining([
        '--config',
        '--upstream',
        '--offline',
        '--no-offline',
        ...TOP.map(([, { flag }]) => flag),
      ]),
    );
    expect(new Set(names).size).toBe(names.length);
    expect(SETTING_FLAGS.filter(({ argument }) => argument === undefined).map(({ name }) => name)).toEqual([
      '--offline',
      '--no-offline',
      '--import-pins',
      '--no-import-pins',
    ]);
  });
});
