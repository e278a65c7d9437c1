/** Run in the project's folder, writes config/pierhead.yaml and the table of docs/reference/settings.md anew from the settings. */
import { readFileSync, writeFileSync } from 'node:fs';
import { settingsYaml, withSettingsTable } from './document.ts';

const PAGE = 'docs/reference/settings.md';

writeFileSync('config/pierhead.yaml', settingsYaml());
writeFileSync(PAGE, withSettingsTable(readFileSync(PAGE, 'utf8')));
