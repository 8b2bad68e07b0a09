-- SPDX-License-Identifier: MIT
-- The first catalog. docs/catalog.md says what the tables mean together.
--
-- Times are seconds since the epoch (UTC). Sizes, offsets and lengths are bytes. A sha256 of a segment is 32 raw
-- bytes, because there are a million of them; elsewhere it is 64 hex digits. File names are the raw bytes that the
-- file system has, which need not be UTF-8.
-- No BEGIN, COMMIT or user_version here: the program runs all pending files in one transaction.

PRAGMA application_id = 1952936804;  -- "tgsd": tells our file from any other SQLite file

-- Facts about the catalog itself.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,  -- "library_id": 16 random hex digits, given at birth
    value TEXT NOT NULL               -- its value
) STRICT, WITHOUT ROWID;

-- A film or an episode: the unit of ingest, playback and deletion.
CREATE TABLE videos (
    video_id              TEXT    NOT NULL PRIMARY KEY,       -- [a-z0-9][a-z0-9._-]{0,99}; stable for ever
    original_filename     TEXT    NOT NULL,                   -- name of the source file when the video was created
    library               TEXT    NOT NULL,                   -- the configured library it belongs to
    source_path           TEXT    NOT NULL,                   -- where the newest source file stands or stood
    wanted                TEXT    NOT NULL DEFAULT 'published'    -- what the owner wants
                          CHECK (wanted IN ('published', 'withdrawn')),
    current_revision      INTEGER,                            -- the revision that plays; NULL while there is none
    capability_generation INTEGER NOT NULL DEFAULT 1,         -- raising it revokes the signed URLs given out
    -- The next four are derived from what follows, and kept by the program in the transaction that changes it: a
    -- view would read all segments for each list, a trigger would fire for each of a million rows.
    total_duration        REAL    NOT NULL DEFAULT 0,         -- seconds of the main rendition (as far as it is cut)
    total_segments        INTEGER NOT NULL DEFAULT 0,         -- media segments of the main rendition
    file_size             INTEGER NOT NULL DEFAULT 0,         -- size of the source file of that revision
    status                TEXT    NOT NULL DEFAULT 'processing'   -- active: something plays; error: nothing plays
                          -- and the last attempt failed; processing: neither
                          CHECK (status IN ('processing', 'active', 'error')),
    created_at            REAL    NOT NULL,                   -- when the row was made
    updated_at            REAL    NOT NULL                    -- when anything of the video last changed
) STRICT;

CREATE INDEX videos_by_source ON videos (source_path);

-- The highest revision number that a video_id ever had. It outlives the video: segment URLs carry the number and are
-- cached as immutable, so a number must never come back with other bytes behind it.
CREATE TABLE revision_numbers (
    video_id TEXT    NOT NULL PRIMARY KEY,  -- of a video that exists, or existed
    last     INTEGER NOT NULL               -- the next revision gets the number after this
) STRICT, WITHOUT ROWID;

-- One ingest of a source file as it then was.
CREATE TABLE revisions (
    video_id        TEXT    NOT NULL REFERENCES videos ON DELETE CASCADE,  -- whose revision
    number          INTEGER NOT NULL CHECK (number >= 1),                  -- counts up from 1
    stage           TEXT    NOT NULL               -- how far it has come
                    CHECK (stage IN ('found', 'probed', 'stored', 'verified', 'published')),
    plan            TEXT,                          -- IngestPlan as JSON: what decides the bytes; NULL before probing
    error           TEXT,                          -- what failed in this stage; NULL when nothing did
    attempts        INTEGER NOT NULL DEFAULT 0,    -- how often it failed
    next_attempt_at REAL,                          -- when to try again; NULL: not planned
    source_path     TEXT    NOT NULL,              -- the source file's absolute path
    source_size     INTEGER NOT NULL,              -- its size
    source_mtime_ns INTEGER NOT NULL,              -- its modification time, nanoseconds
    source_inode    INTEGER NOT NULL,              -- its inode; 64 bits read as signed (mergerfs uses all of them)
    source_device   INTEGER NOT NULL,              -- its device; likewise
    source_hash     TEXT    NOT NULL,              -- sampled hash of its contents
    superseded_at   REAL,                          -- when another revision became the current one
    created_at      REAL    NOT NULL,              -- when the row was made
    updated_at      REAL    NOT NULL,              -- when it last changed
    PRIMARY KEY (video_id, number)
) STRICT;

CREATE INDEX revisions_by_size ON revisions (source_size);
CREATE INDEX revisions_superseded ON revisions (superseded_at) WHERE superseded_at IS NOT NULL;
CREATE INDEX revisions_due ON revisions (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

-- One stream of a revision. Numbers are never given twice: an ingest whose video is deleted goes on for a moment, and what it
-- records would arrive in another video.
CREATE TABLE renditions (
    rendition_id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,  -- counts up; never given twice
    video_id             TEXT    NOT NULL,               -- whose rendition
    revision             INTEGER NOT NULL,               -- of which revision
    name                 TEXT    NOT NULL,               -- "main", "audio-1": part of URLs
    kind                 TEXT    NOT NULL CHECK (kind IN ('main', 'audio')),        -- picture with sound, or sound
    container            TEXT    NOT NULL CHECK (container IN ('mpegts', 'fmp4')),  -- how the stream is packaged
    codecs               TEXT    NOT NULL DEFAULT '',    -- RFC 6381, such as avc1.640028,mp4a.40.2
    bandwidth            INTEGER NOT NULL DEFAULT 0,     -- peak bits per second (RFC 8216, 4.3.4.2)
    average_bandwidth    INTEGER NOT NULL DEFAULT 0,     -- average bits per second
    width                INTEGER NOT NULL DEFAULT 0,     -- pixels; 0 for sound
    height               INTEGER NOT NULL DEFAULT 0,     -- pixels; 0 for sound
    frame_rate           REAL    NOT NULL DEFAULT 0,     -- frames per second; 0 for sound
    language             TEXT,                           -- as the source says it
    title                TEXT,                           -- as the source says it
    is_default           INTEGER NOT NULL DEFAULT 0 CHECK (is_default IN (0, 1)),   -- players take it by themselves
    stream_length        INTEGER NOT NULL DEFAULT 0,     -- length of the whole stream; 0 until complete
    init_length          INTEGER NOT NULL DEFAULT 0,     -- length of the initialization section at its beginning
    duration             REAL    NOT NULL DEFAULT 0,     -- seconds; of the segments so far until complete
    independent_segments INTEGER NOT NULL DEFAULT 0 CHECK (independent_segments IN (0, 1)),  -- closed GOPs
    is_complete          INTEGER NOT NULL DEFAULT 0 CHECK (is_complete IN (0, 1)),  -- the stream's end is stored
    total_segments       INTEGER NOT NULL DEFAULT 0,     -- rows of it in rendition_segments, counted in the same
                                                         -- transaction: counting a million takes 50 ms
    created_at           REAL    NOT NULL,               -- when the row was made
    updated_at           REAL    NOT NULL,               -- when it last changed
    UNIQUE (video_id, revision, name),
    FOREIGN KEY (video_id, revision) REFERENCES revisions (video_id, number) ON DELETE CASCADE
) STRICT;

-- Media segments: byte ranges of a stream. A million rows are 1,700 hours of video, so a row holds only what cannot be
-- derived, 80 bytes; the view "segments" below adds the names. WITHOUT ROWID: one b-tree, one lookup.
CREATE TABLE rendition_segments (
    rendition_id  INTEGER NOT NULL REFERENCES renditions ON DELETE CASCADE,   -- whose stream
    segment_order INTEGER NOT NULL CHECK (segment_order >= 0),                -- counts up from 0
    byte_offset   INTEGER NOT NULL CHECK (byte_offset >= 0),                  -- where it begins in the stream
    file_size     INTEGER NOT NULL CHECK (file_size > 0),                     -- its length
    start_time    REAL    NOT NULL,                                           -- seconds; time of its first frame
    duration      REAL    NOT NULL CHECK (duration >= 0),                     -- seconds; its EXTINF
    sha256        BLOB    NOT NULL CHECK (length(sha256) = 32),               -- raw
    discontinuity INTEGER NOT NULL DEFAULT 0 CHECK (discontinuity IN (0, 1)), -- EXT-X-DISCONTINUITY stands before it
    created_at    REAL    NOT NULL,  -- whole seconds, which take 4 bytes where a fraction takes 8
    updated_at    REAL    NOT NULL,  -- likewise
    PRIMARY KEY (rendition_id, segment_order)
) STRICT, WITHOUT ROWID;

-- Media segments under the names that playlists and URLs use. Repeating video_id, rendition and filename in each row
-- (and the index that ON DELETE CASCADE by video_id needs) would double the catalog.
CREATE VIEW segments AS
SELECT
    r.video_id,                                  -- whose segment
    r.revision,                                  -- of which revision
    r.name AS rendition,                         -- of which rendition
    printf('segment_%04d', s.segment_order)
        || CASE r.container WHEN 'mpegts' THEN '.ts' ELSE '.m4s' END AS filename,  -- segment_0000.ts
    s.segment_order,                             -- counts up from 0
    s.duration,                                  -- seconds
    s.file_size,                                 -- its length
    s.byte_offset,                               -- where it begins in the stream
    s.start_time,                                -- seconds
    lower(hex(s.sha256)) AS sha256,              -- 64 hex digits
    s.discontinuity,                             -- 1 after a join
    s.created_at,                                -- when the row was made
    s.updated_at                                 -- when it last changed
FROM rendition_segments AS s JOIN renditions AS r USING (rendition_id);

-- What would otherwise die with the source file: subtitles, stills, chapters. Their bytes are in documents.
CREATE TABLE extras (
    extra_id INTEGER NOT NULL PRIMARY KEY,  -- its number in this catalog
    video_id TEXT    NOT NULL,   -- whose extra
    revision INTEGER NOT NULL,   -- of which revision
    name     TEXT    NOT NULL,   -- the ending behind the published base name, such as .en.srt
    UNIQUE (video_id, revision, name),
    FOREIGN KEY (video_id, revision) REFERENCES revisions (video_id, number) ON DELETE CASCADE
) STRICT;

-- Stored documents: consecutive byte ranges of a stream, or a whole extra. Never shared between videos.
CREATE TABLE documents (
    document_id    INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,  -- counts up; never given twice
    rendition_id   INTEGER REFERENCES renditions ON DELETE CASCADE,  -- whose stream; NULL for an extra
    extra_id       INTEGER UNIQUE REFERENCES extras ON DELETE CASCADE,  -- which extra; NULL for a stream
    number         INTEGER NOT NULL CHECK (number >= 0),       -- counts up in its rendition; 0 for an extra
    byte_offset    INTEGER NOT NULL CHECK (byte_offset >= 0),  -- where it begins in the stream; 0 for an extra
    length         INTEGER NOT NULL CHECK (length >= 0),       -- bytes of the stream in it
    size           INTEGER NOT NULL CHECK (size >= length),    -- bytes stored; more than length only where a resumed
                                                               -- transcode went on in the middle of it
    sha256         TEXT    NOT NULL,                           -- of all bytes stored, 64 hex digits
    chat_id        INTEGER NOT NULL,                           -- Telegram chat; 0 in a directory store
    message_id     INTEGER NOT NULL,                           -- message in that chat; 0 in a directory store
    file_unique_id TEXT    NOT NULL,                           -- Telegram's, the same for all bots; a path otherwise
    uploaded_at    REAL    NOT NULL,                           -- when it was recorded as stored
    verified_at    REAL,                                       -- when it was last read back and matched; or NULL
    CHECK ((rendition_id IS NULL) <> (extra_id IS NULL)),
    UNIQUE (rendition_id, number),
    UNIQUE (rendition_id, byte_offset)
) STRICT;

-- Whether a message is ours (reconciliation), and which document a bot learned a file_id of.
CREATE INDEX documents_by_message ON documents (chat_id, message_id);

-- The file_ids by which bots read a document: each belongs to one bot.
CREATE TABLE document_files (
    document_id INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,  -- which document
    bot_id      INTEGER NOT NULL,                                         -- the bot's id, never its position
    file_id     TEXT    NOT NULL,                                         -- the file_id of that bot
    PRIMARY KEY (document_id, bot_id)
) STRICT, WITHOUT ROWID;

-- Deletions that are owed to the store: a durable queue.
CREATE TABLE owed_deletions (
    deletion_id    INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,  -- oldest first
    chat_id        INTEGER NOT NULL,   -- as in documents
    message_id     INTEGER NOT NULL,   -- as in documents
    file_unique_id TEXT    NOT NULL,   -- as in documents
    size           INTEGER NOT NULL,   -- as in documents
    sha256         TEXT    NOT NULL,   -- as in documents
    UNIQUE (chat_id, message_id, file_unique_id)
) STRICT;

-- The file_ids of documents whose deletion is owed.
CREATE TABLE owed_deletion_files (
    deletion_id INTEGER NOT NULL REFERENCES owed_deletions ON DELETE CASCADE,  -- which deletion
    bot_id      INTEGER NOT NULL,                                              -- as in document_files
    file_id     TEXT    NOT NULL,                                              -- as in document_files
    PRIMARY KEY (deletion_id, bot_id)
) STRICT, WITHOUT ROWID;

-- Whatever takes a document's row away (a deleted video, a revision, a truncation, a hand in the sqlite3 shell) owes
-- its deletion in the same transaction: no path can forget it. BEFORE, while the file_ids are still there.
CREATE TRIGGER documents_owe_deletion BEFORE DELETE ON documents
BEGIN
    INSERT INTO owed_deletions (chat_id, message_id, file_unique_id, size, sha256)
    VALUES (OLD.chat_id, OLD.message_id, OLD.file_unique_id, OLD.size, OLD.sha256)
    ON CONFLICT DO NOTHING;
    INSERT INTO owed_deletion_files (deletion_id, bot_id, file_id)
    SELECT o.deletion_id, f.bot_id, f.file_id
    FROM owed_deletions AS o JOIN document_files AS f
    WHERE o.chat_id = OLD.chat_id AND o.message_id = OLD.message_id
      AND o.file_unique_id = OLD.file_unique_id AND f.document_id = OLD.document_id
    ON CONFLICT DO NOTHING;
END;

-- A revision that is deleted plays no more.
CREATE TRIGGER revisions_leave_videos AFTER DELETE ON revisions
BEGIN
    UPDATE videos SET current_revision = NULL
    WHERE video_id = OLD.video_id AND current_revision = OLD.number;
END;

-- Uploads begun and not yet recorded as documents: where to look for orphans after a kill. No foreign key: an upload
-- may outlive its video, and its orphan is looked for all the same.
CREATE TABLE intents (
    intent_id  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,  -- counts up; never given twice
    library_id TEXT    NOT NULL,   -- the label's library_id
    video_id   TEXT    NOT NULL,   -- whose document
    revision   INTEGER NOT NULL,   -- of which revision
    rendition  TEXT    NOT NULL,   -- the rendition's name, or "extra"
    number     INTEGER NOT NULL,   -- the document's number
    size       INTEGER NOT NULL,   -- bytes
    sha256     TEXT    NOT NULL,   -- 64 hex digits
    filename   TEXT    NOT NULL,   -- for an extra its name, else empty
    bot_id     INTEGER NOT NULL,   -- the bot that sends
    chat_id    INTEGER NOT NULL,   -- the chat it sends to
    begun_at   REAL    NOT NULL    -- when
) STRICT;

CREATE INDEX intents_by_label ON intents (video_id, revision, rendition, number);

-- Files that we wrote into the library, or are about to: what stands there and is not listed is not ours.
CREATE TABLE published_files (
    path       TEXT NOT NULL PRIMARY KEY,                           -- absolute
    video_id   TEXT NOT NULL REFERENCES videos ON DELETE CASCADE,   -- whose file
    sha256     TEXT NOT NULL,                                       -- of its contents, 64 hex digits
    updated_at REAL NOT NULL                                        -- when it was last recorded
) STRICT, WITHOUT ROWID;

CREATE INDEX published_files_by_video ON published_files (video_id);

-- What the cache saw, for statistics only: counters live in memory and are added here each minute.
CREATE TABLE cache_metadata (
    video_id         TEXT    NOT NULL REFERENCES videos ON DELETE CASCADE,  -- whose segment
    revision         INTEGER NOT NULL,   -- of which revision
    rendition        TEXT    NOT NULL,   -- the rendition's name
    segment_filename TEXT    NOT NULL,   -- such as segment_0000.ts
    cached_at        REAL    NOT NULL,   -- when it last came into the cache
    access_count     INTEGER NOT NULL,   -- how often it was asked for
    last_accessed    REAL    NOT NULL,   -- when it was last asked for
    cache_size       INTEGER NOT NULL,   -- bytes it takes in the cache
    PRIMARY KEY (video_id, revision, rendition, segment_filename)
) STRICT, WITHOUT ROWID;

CREATE INDEX cache_metadata_by_use ON cache_metadata (last_accessed);
