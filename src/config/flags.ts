import type { Setting } from './fields.ts';
import { SLOTS, type Assignment } from './sources.ts';

/** An option for a command line parser. */
interface SettingFlag {
  /** `--data-dir`, `--no-offline`. */
  readonly name: string;
  /** `<folder>`; undefined: a switch. */
  readonly argument?: string;
  readonly help: string;
}

/**
 * Values by the name of the flag in camel case (`dataDir`), in the form of commander: `--no-offline` is `offline: false`,
 * and a flag that may be repeated has a list.
 */
export type Flags = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

export const CONFIG_FLAG: SettingFlag = {
  name: '--config',
  argument: '<file>',
  help: 'Settings file (YAML), instead of PIERHEAD_CONFIG',
};

/** The flags of all settings, `--config` first. */
export const SETTING_FLAGS: readonly SettingFlag[] = [
  CONFIG_FLAG,
  ...SLOTS.flatMap(({ setting }) => flagsOf(setting)),
];

function flagsOf(setting: Setting): SettingFlag[] {
  const { flag, argument } = setting;
  if (flag === undefined) return [];
  const note = setting.default === undefined ? '' : ` (default: ${[setting.default].flat().join(', ')})`;
  const help = `${setting.help.replace(/\.$/, '')}${note}`;
  if (argument !== undefined) return [{ name: flag, argument, help }];
  return [
    { name: flag, help },
    { name: flag.replace('--', '--no-'), help: `Turns ${flag} off, whatever the file or environment says` },
  ];
}

/** The flags of settings. Other flags are ignored. */
export function fromFlags(flags: Flags): Assignment[] {
  return SLOTS.flatMap((slot) => {
    const name = slot.setting.flag;
    const value = name === undefined ? undefined : flags[attribute(name)];
    if (name === undefined || value === undefined) return [];
    return [{ ...slot, raw: String(value), source: { kind: 'flag', name } as const }];
  });
}

function attribute(flag: string): string {
  return flag.slice(2).replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
