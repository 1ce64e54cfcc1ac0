CREATE TABLE `retiring` (
	`resource` text NOT NULL,
	`field` text NOT NULL,
	`tenant` text,
	`id` text,
	PRIMARY KEY(`resource`, `field`)
) STRICT;
--> statement-breakpoint
CREATE VIEW "v1_users" AS -- Perigee: users as version 2026-03-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."handle" AS "handle",
  iif(instr(t."name", ' ') = 0, t."name", substr(t."name", 1, instr(t."name", ' ') - 1)) AS "givenName",
  iif(instr(t."name", ' ') = 0, null, substr(t."name", instr(t."name", ' ') + 1)) AS "familyName",
  json_object('homepage', t."homepage") AS "profile",
  t."postCount" AS "postCount",
  t."wordCount" AS "wordCount"
FROM "users" t;
--> statement-breakpoint
CREATE VIEW "v1_articles" AS -- Perigee: articles as version 2026-03-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."authorId" AS "authorId",
  t."slug" AS "slug",
  substr(t."title", 1, 120) AS "title",
  t."body" AS "content",
  case t."status" when 'published' then 'live' else t."status" end AS "status",
  iif(json_type(t."meta", '$."language"') = 'text', t."meta" ->> '$."language"', null) AS "language",
  json_remove(t."meta", '$."language"') AS "meta",
  t."authorName" AS "authorName",
  t."commentCount" AS "commentCount",
  t."lastCommentAt" AS "lastCommentAt",
  0 AS "featured"
FROM "posts" t;
--> statement-breakpoint
CREATE VIEW "v1_comments" AS -- Perigee: comments as version 2026-03-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."postId" AS "articleId",
  t."authorId" AS "authorId",
  t."body" AS "text",
  t."authorName" AS "authorName"
FROM "comments" t;
--> statement-breakpoint
CREATE VIEW "v1_tags" AS -- Perigee: tags as version 2026-03-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."name" AS "name",
  t."postCount" AS "articleCount"
FROM "tags" t;
--> statement-breakpoint
CREATE VIEW "v1_articleTags" AS -- Perigee: articleTags as version 2026-03-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."postId" AS "articleId",
  t."tagId" AS "tagId"
FROM "postTags" t;
--> statement-breakpoint
CREATE VIEW "v2_users" AS -- Perigee: users as version 2026-07-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."handle" AS "handle",
  iif(instr(t."name", ' ') = 0, t."name", substr(t."name", 1, instr(t."name", ' ') - 1)) AS "givenName",
  iif(instr(t."name", ' ') = 0, null, substr(t."name", instr(t."name", ' ') + 1)) AS "familyName",
  t."homepage" AS "homepage",
  t."postCount" AS "postCount",
  t."wordCount" AS "wordCount"
FROM "users" t;
--> statement-breakpoint
CREATE VIEW "v2_posts" AS -- Perigee: posts as version 2026-07-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."authorId" AS "authorId",
  t."slug" AS "slug",
  substr(t."title", 1, 120) AS "title",
  t."body" AS "body",
  t."status" AS "status",
  t."words" AS "words",
  t."meta" AS "meta",
  t."authorName" AS "authorName",
  t."commentCount" AS "commentCount",
  t."lastCommentAt" AS "lastCommentAt",
  0 AS "featured"
FROM "posts" t;
--> statement-breakpoint
CREATE VIEW "v2_comments" AS -- Perigee: comments as version 2026-07-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."postId" AS "postId",
  t."authorId" AS "authorId",
  t."body" AS "text",
  t."authorName" AS "authorName"
FROM "comments" t;
--> statement-breakpoint
CREATE VIEW "v2_tags" AS -- Perigee: tags as version 2026-07-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."name" AS "name",
  t."postCount" AS "postCount"
FROM "tags" t;
--> statement-breakpoint
CREATE VIEW "v2_postTags" AS -- Perigee: postTags as version 2026-07-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."postId" AS "postId",
  t."tagId" AS "tagId"
FROM "postTags" t;
--> statement-breakpoint
CREATE VIEW "v3_users" AS -- Perigee: users as version 2026-11-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."handle" AS "handle",
  t."name" AS "name",
  t."homepage" AS "homepage",
  t."postCount" AS "postCount",
  t."wordCount" AS "wordCount"
FROM "users" t;
--> statement-breakpoint
CREATE VIEW "v3_posts" AS -- Perigee: posts as version 2026-11-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."authorId" AS "authorId",
  t."slug" AS "slug",
  t."title" AS "title",
  t."body" AS "body",
  t."status" AS "status",
  t."words" AS "words",
  t."meta" AS "meta",
  t."authorName" AS "authorName",
  t."commentCount" AS "commentCount",
  t."lastCommentAt" AS "lastCommentAt"
FROM "posts" t;
--> statement-breakpoint
CREATE VIEW "v3_comments" AS -- Perigee: comments as version 2026-11-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."postId" AS "postId",
  t."authorId" AS "authorId",
  t."body" AS "body",
  t."authorName" AS "authorName"
FROM "comments" t;
--> statement-breakpoint
CREATE VIEW "v3_tags" AS -- Perigee: tags as version 2026-11-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."name" AS "name",
  t."postCount" AS "postCount"
FROM "tags" t;
--> statement-breakpoint
CREATE VIEW "v3_postTags" AS -- Perigee: postTags as version 2026-11-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."postId" AS "postId",
  t."tagId" AS "tagId"
FROM "postTags" t;
--> statement-breakpoint
CREATE TRIGGER "retiring_waits" BEFORE DELETE ON "retiring" WHEN old.tenant is not null BEGIN
  select raise(abort, 'a column that it drops has not been filled over to those that take its place; migrate with the release before first, "bun run migrate" there');
END;
