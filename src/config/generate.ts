/** Run in the project's folder, writes config/pierhead.yaml and the table in README.md anew from the settings. */
import { readFileSync, writeFileSync } from 'node:fs';
import { settingsYaml, withSettingsTable } from './document.ts';

writeFileSync('config/pierhead.yaml', settingsYaml());
writeFileSync('README.md', withSettingsTable(readFileSync('README.md', 'utf8')));
