import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { SETTING_FLAGS, type Flags } from '../../src/config/flags.ts';
import { loadSettings } from '../../src/config/load.ts';
import { SETTINGS } from '../../src/config/schema.ts';
import { UPSTREAM_SETTINGS } from '../../src/config/upstreams.ts';
import type { Setting } from '../../src/config/fields.ts';
import { fileFor, neededBeside } from '../support/needed-settings.ts';

/** The settings of a command line, as commander takes it apart with the exported options. */
function load(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const command = new Command('pierhead').exitOverride();
  for (const { name, argument, help } of SETTING_FLAGS) {
    command.option(argument === undefined ? name : `${name} ${argument}`, help);
  }
  const flags: Flags = command.parse(argv, { from: 'user' }).opts();
  return loadSettings({ flags, env, cwd: '/srv', readFile: fileFor });
}

describe('flags', () => {
  it('that are not given change nothing', () => {
    const { sources } = load([]);
    expect(new Set(sources.map(({ source }) => source.kind))).toEqual(new Set(['default']));
  });

  const words = ({ flag, argument, default: preset, example }: Setting): string[] =>
    flag === undefined || argument === undefined ? [] : [flag, [preset ?? example ?? ''].flat().join(',')];
  const settings = [...Object.entries<Setting>(SETTINGS), ...Object.entries<Setting>(UPSTREAM_SETTINGS)];
  const valued = settings.flatMap(([key, setting]) => {
    const [flag, value] = words(setting);
    const beside = neededBeside(key).flatMap(([, each]) => words(each));
    return flag === undefined || value === undefined ? [] : [[flag, [flag, value, ...beside]] as const];
  });
  it.each(valued)('%s sets its key', (flag, argv) => {
    const { sources } = load(argv);
    expect(sources.filter(({ source }) => source.kind === 'flag').map(({ source }) => source)).toContainEqual(
      {
        kind: 'flag',
        name: flag,
      },
    );
  });

  it('switch on, and off what the environment switched on', () => {
    expect(load(['--offline']).settings.offline).toBe(true);
    expect(load(['--no-offline'], { PIERHEAD_OFFLINE: 'true' }).settings.offline).toBe(false);
    expect(load([], { PIERHEAD_OFFLINE: 'true' }).settings.offline).toBe(true);
  });
});
