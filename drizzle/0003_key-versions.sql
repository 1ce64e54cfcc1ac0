ALTER TABLE `keys` ADD `version` text;
