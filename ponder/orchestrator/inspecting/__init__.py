"""What a trace tells of its run: what was spent where, what verifiers said, and how trees grew, as
values, tables and pictures. From the events alone.
"""
