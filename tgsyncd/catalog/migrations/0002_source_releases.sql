-- SPDX-License-Identifier: MIT
-- Source files that are moved or deleted once their revision is published (libraries.after_publish).

-- Owed before the revision is published, so that no kill can forget it, and kept when it is done: a source file that we took
-- away ourselves is not one that somebody removed.
CREATE TABLE source_releases (
    video_id TEXT    NOT NULL,   -- whose source file
    revision INTEGER NOT NULL,   -- the revision that was made of it
    owed_at  REAL    NOT NULL,   -- when it was noted
    done_at  REAL,               -- when the file had been moved or deleted; NULL while it is owed
    PRIMARY KEY (video_id, revision),
    FOREIGN KEY (video_id, revision) REFERENCES revisions (video_id, number) ON DELETE CASCADE
) STRICT;

CREATE INDEX source_releases_owed ON source_releases (owed_at) WHERE done_at IS NULL;
