def study_view(folder):
    return None
