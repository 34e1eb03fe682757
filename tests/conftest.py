"""What every test of the house needs: nothing but settings for the property tests."""

from hypothesis import settings

# Two busy cores make single examples slow at random; a deadline would only report that.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
