"""Operations worth a fast form of their own: one folder each, needing torch alone."""
