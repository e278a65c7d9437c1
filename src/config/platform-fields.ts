import { parsePlatform } from '../oci/platform.ts';
import { quoted, UnitError } from './units.ts';

/** The text of a platform, as it is. Throws UnitError. */
export function parsePlatformText(text: string): string {
  if (parsePlatform(text) === undefined) throw new UnitError(`${quoted(text)} is not a platform`);
  return text;
}
